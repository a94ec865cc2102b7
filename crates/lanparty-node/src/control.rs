//! The control messages of a connection: in and out, in order.

use lanparty_proto::{Control, ControlDecoder, encode_control};
use lanparty_quic::{Connection, RecvStream, SendStream};

use crate::bond::BondControl;
use crate::{LinkEnded, StreamLink};

/// Bytes read from the stream at once.
const CHUNK_LEN: usize = 4096;

fn broken(e: &dyn std::fmt::Display) -> LinkEnded {
    LinkEnded { reason: format!("the control stream broke: {e}"), by_peer: false }
}

/// The reading half.
pub struct ControlReader(Reader);

enum Reader {
    Quic { stream: RecvStream, decoder: ControlDecoder },
    Stream(StreamLink),
    Bond(BondControl),
}

impl ControlReader {
    pub(crate) const fn of_bond(bond: BondControl) -> Self {
        Self(Reader::Bond(bond))
    }

    /// The next message. Cancel-safe: bytes read so far are kept.
    ///
    /// # Errors
    /// When the stream or the connection ended, or speaks no protocol of ours.
    pub async fn next(&mut self) -> Result<Control, LinkEnded> {
        match &mut self.0 {
            Reader::Quic { stream, decoder } => next_of_quic(stream, decoder).await,
            Reader::Stream(link) => link.next_control().await,
            Reader::Bond(bond) => bond.next().await,
        }
    }
}

async fn next_of_quic(stream: &mut RecvStream, decoder: &mut ControlDecoder) -> Result<Control, LinkEnded> {
    loop {
        if let Some(message) = decoder.next_message().map_err(|e| broken(&e))? {
            return Ok(message);
        }
        // No buffer of our own: it would be there all the time that nothing comes.
        match stream.read_chunk(CHUNK_LEN).await {
            Ok(Some(bytes)) => decoder.extend(&bytes),
            Ok(None) => return Err(LinkEnded { reason: "closed by the other side".into(), by_peer: true }),
            Err(lanparty_quic::ReadError::ConnectionLost(e)) => return Err(e.into()),
            Err(e) => return Err(broken(&e)),
        }
    }
}

/// The writing half.
pub struct ControlWriter(Writer);

enum Writer {
    Quic(SendStream),
    Stream(StreamLink),
    Bond(BondControl),
}

impl ControlWriter {
    pub(crate) const fn of_bond(bond: BondControl) -> Self {
        Self(Writer::Bond(bond))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the stream or the connection ended.
    pub async fn send(&mut self, message: &Control) -> Result<(), LinkEnded> {
        match &mut self.0 {
            Writer::Stream(link) => link.send_control(message).await,
            Writer::Bond(bond) => bond.send(message),
            Writer::Quic(stream) => match stream.write_all(&encode_control(message)).await {
                Ok(()) => Ok(()),
                Err(lanparty_quic::WriteError::ConnectionLost(e)) => Err(e.into()),
                Err(e) => Err(broken(&e)),
            },
        }
    }

    /// No more messages: what was sent is delivered before the stream ends.
    pub fn finish(&mut self) {
        if let Writer::Quic(stream) = &mut self.0 {
            // Already finished or reset: both mean that nothing more is to be done.
            let _ = stream.finish();
        }
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

/// The messages between the datagrams of a stream.
pub(crate) fn of_stream(link: &StreamLink) -> (ControlReader, ControlWriter) {
    (ControlReader(Reader::Stream(link.clone())), ControlWriter(Writer::Stream(link.clone())))
}

fn halves(send: SendStream, recv: RecvStream) -> (ControlReader, ControlWriter) {
    (ControlReader(Reader::Quic { stream: recv, decoder: ControlDecoder::new() }), ControlWriter(Writer::Quic(send)))
}
