//! The control stream of a connection: messages in, messages out.

use lanparty_proto::{Control, ControlDecoder, encode_control};
use noq::{Connection, RecvStream, SendStream};

use crate::LinkEnded;

/// Bytes read from the stream at once.
const CHUNK_LEN: usize = 4096;

fn broken(e: &dyn std::fmt::Display) -> LinkEnded {
    LinkEnded { reason: format!("the control stream broke: {e}"), by_peer: false }
}

/// The reading half.
pub struct ControlReader {
    stream: RecvStream,
    decoder: ControlDecoder,
}

impl ControlReader {
    /// The next message. Cancel-safe: bytes read so far are kept.
    ///
    /// # Errors
    /// When the stream or the connection ended, or speaks no protocol of ours.
    pub async fn next(&mut self) -> Result<Control, LinkEnded> {
        loop {
            if let Some(message) = self.decoder.next_message().map_err(|e| broken(&e))? {
                return Ok(message);
            }
            let mut chunk = [0; CHUNK_LEN];
            match self.stream.read(&mut chunk).await {
                Ok(Some(n)) => self.decoder.extend(&chunk[..n]),
                Ok(None) => return Err(LinkEnded { reason: "closed by the other side".into(), by_peer: true }),
                Err(noq::ReadError::ConnectionLost(e)) => return Err(e.into()),
                Err(e) => return Err(broken(&e)),
            }
        }
    }
}

/// The writing half.
pub struct ControlWriter {
    stream: SendStream,
}

impl ControlWriter {
    /// Sends a message.
    ///
    /// # Errors
    /// When the stream or the connection ended.
    pub async fn send(&mut self, message: &Control) -> Result<(), LinkEnded> {
        match self.stream.write_all(&encode_control(message)).await {
            Ok(()) => Ok(()),
            Err(noq::WriteError::ConnectionLost(e)) => Err(e.into()),
            Err(e) => Err(broken(&e)),
        }
    }

    /// No more messages: what was sent is delivered before the stream ends.
    pub fn finish(&mut self) {
        // Already finished or reset: both mean that nothing more is to be done.
        let _ = self.stream.finish();
    }
}

/// Opens the control stream, as the member does.
pub(crate) async fn open(connection: &Connection) -> Result<(ControlReader, ControlWriter), LinkEnded> {
    let (send, recv) = connection.open_bi().await?;
    Ok(halves(send, recv))
}

/// Waits for the member's control stream, as the relay does.
pub(crate) async fn accept(connection: &Connection) -> Result<(ControlReader, ControlWriter), LinkEnded> {
    let (send, recv) = connection.accept_bi().await?;
    Ok(halves(send, recv))
}

fn halves(send: SendStream, recv: RecvStream) -> (ControlReader, ControlWriter) {
    (ControlReader { stream: recv, decoder: ControlDecoder::new() }, ControlWriter { stream: send })
}
