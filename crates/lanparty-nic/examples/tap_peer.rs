//! The other end of the test driver (tests/faketap): carries frames between it and a UDP socket of the loopback interface, where a test
//! on Linux has the network stack that Windows would have. `tap_peer HERE THERE`, both as ADDRESS:PORT.

use std::error::Error;

#[cfg(windows)]
fn main() -> Result<(), Box<dyn Error>> {
    use std::net::UdpSocket;
    use std::time::Duration;

    use bytes::Bytes;
    use lanparty_nic::Device;
    use lanparty_nic::windows::Tap;
    use lanparty_proto::FrameBatch;

    /// Pause when there is nothing to carry.
    const PAUSE: Duration = Duration::from_micros(500);

    let args: Vec<String> = std::env::args().skip(1).collect();
    let [here, there] = args.as_slice() else { return Err("tap_peer HERE THERE".into()) };
    let socket = UdpSocket::bind(here)?;
    socket.connect(there)?;
    socket.set_nonblocking(true)?;
    let mut tap = Tap::open_at(r"\\.\FakeTapPeer", "peer")?;
    tap.control().set_media(true)?;
    socket.send(&[])?;
    let mut buffer = [0; 2048];
    loop {
        let mut is_idle = true;
        let mut batch = FrameBatch::new();
        if tap.recv_batch(&mut batch).is_ok() {
            is_idle = false;
            while let Some(frame) = batch.pop() {
                // Nobody listens yet, or no more: as on a wire.
                let _ = socket.send(&frame[FrameBatch::HEADROOM..]);
            }
        }
        while let Ok(len) = socket.recv(&mut buffer) {
            is_idle = false;
            if len == 1 {
                // No frame, but word that the adapter goes or comes back.
                tap.control().set_gone(buffer[0] != 0)?;
                continue;
            }
            let frame = [Bytes::copy_from_slice(&buffer[..len])];
            // What loses frames in a test is the driver, and not the way to it.
            while tap.send_batch(&frame).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock) {
                std::thread::sleep(PAUSE);
            }
        }
        if is_idle {
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(not(windows))]
fn main() -> Result<(), Box<dyn Error>> {
    Err("the test driver is one of Windows".into())
}
