//! Whether this process runs as Administrator (TokenElevation).

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::Security::{GetTokenInformation, TOKEN_ELEVATION, TOKEN_QUERY, TokenElevation};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// Nothing where Windows does not say.
#[must_use]
pub fn is_elevated() -> Option<bool> {
    let mut token: HANDLE = std::ptr::null_mut();
    // SAFETY: the process' own handle needs no closing; `token` is ours.
    if unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) } == 0 {
        return None;
    }
    // SAFETY: the call succeeded, so the handle is open, and nobody else knows it.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let (mut elevation, mut len) = (TOKEN_ELEVATION::default(), size_of::<TOKEN_ELEVATION>() as u32);
    // SAFETY: the token is open, and the structure writable for its length.
    let asked = unsafe { GetTokenInformation(token.as_raw_handle(), TokenElevation, (&raw mut elevation).cast(), len, &raw mut len) };
    (asked != 0).then_some(elevation.TokenIsElevated != 0)
}
