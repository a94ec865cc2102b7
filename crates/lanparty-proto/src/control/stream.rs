//! Control messages as bytes: behind a length in a stream, or as JSON alone (docs/wire-format.md §3 and §8).

use super::Control;

/// Longest control message, in bytes, without its length prefix. A room of 200 members is listed in less.
pub const CONTROL_MESSAGE_LEN_MAX: usize = 64 * 1024;
const LEN_PREFIX: usize = 4;

/// What is wrong with a control stream. It ends the connection: after it the stream has no known message boundary.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The length prefix is above [`CONTROL_MESSAGE_LEN_MAX`].
    #[error("control message of {0} bytes, at most {CONTROL_MESSAGE_LEN_MAX} are allowed")]
    TooLong(usize),
    /// The message is no JSON of a known shape.
    #[error("control message not understood: {0}")]
    Syntax(#[from] serde_json::Error),
}

/// A message as the stream carries it: four bytes of length, big-endian, then JSON.
///
/// # Panics
/// Never: every [`Control`] has a JSON form.
#[must_use]
pub fn encode_control(message: &Control) -> Vec<u8> {
    let mut out = vec![0; LEN_PREFIX];
    serde_json::to_writer(&mut out, message).expect("INVARIANT: every control message has a JSON form");
    let len = u32::try_from(out.len() - LEN_PREFIX).unwrap_or(u32::MAX);
    if let Some(prefix) = out.first_chunk_mut::<LEN_PREFIX>() {
        *prefix = len.to_be_bytes();
    }
    out
}

/// A message as JSON alone, for a transport that keeps messages apart by itself.
///
/// # Panics
/// Never: every [`Control`] has a JSON form.
#[must_use]
pub fn control_to_json(message: &Control) -> String {
    serde_json::to_string(message).expect("INVARIANT: every control message has a JSON form")
}

/// The message that [`control_to_json`] wrote.
///
/// # Errors
/// [`ControlError`] when it is too long, or no JSON of a known shape.
pub fn control_from_json(json: &str) -> Result<Control, ControlError> {
    if json.len() > CONTROL_MESSAGE_LEN_MAX {
        return Err(ControlError::TooLong(json.len()));
    }
    Ok(serde_json::from_str(json)?)
}

/// Cuts a byte stream into messages. Holds at most one unfinished message.
#[derive(Default)]
pub struct ControlDecoder {
    buffer: Vec<u8>,
}

impl ControlDecoder {
    /// An empty decoder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes read from the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// [`ControlError`] when the stream cannot be followed any further.
    pub fn next_message(&mut self) -> Result<Option<Control>, ControlError> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<LEN_PREFIX>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > CONTROL_MESSAGE_LEN_MAX {
            return Err(ControlError::TooLong(len));
        }
        let Some(body) = rest.get(..len) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.buffer.drain(..LEN_PREFIX + len);
        Ok(Some(message))
    }
}
