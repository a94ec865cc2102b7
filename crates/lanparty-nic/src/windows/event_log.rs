//! Windows' event log, for what an operator looks for there: that a service came, went, or failed.

use std::io;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, RegisterEventSourceW, ReportEventW,
};

use super::wide;

/// The message with this number is the text alone, in the program that Windows has for such events (EventCreate.exe).
const PLAIN_TEXT: u32 = 1;

/// Writes one event of `source`.
///
/// # Errors
/// What Windows said.
pub fn report_event(source: &str, is_error: bool, text: &str) -> io::Result<()> {
    let (source, text) = (wide(source), wide(text));
    // SAFETY: the name ends with a zero; the absent pointer means this machine.
    let log: HANDLE = unsafe { RegisterEventSourceW(std::ptr::null(), source.as_ptr()) };
    if log.is_null() {
        return Err(io::Error::last_os_error());
    }
    let kind = if is_error { EVENTLOG_ERROR_TYPE } else { EVENTLOG_INFORMATION_TYPE };
    let texts = [text.as_ptr()];
    // SAFETY: the log is open, there is one text, it ends with a zero, and there are no raw data.
    let reported = unsafe { ReportEventW(log, kind, 0, PLAIN_TEXT, std::ptr::null_mut(), 1, 0, texts.as_ptr(), std::ptr::null()) };
    let outcome = if reported == 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    // SAFETY: the log is open, and closed once.
    unsafe { DeregisterEventSource(log) };
    outcome
}
