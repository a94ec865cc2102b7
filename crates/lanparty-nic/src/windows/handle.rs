//! Handles and events that close themselves.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects};

/// Stays set until an operation begins that is to set it.
#[derive(Debug)]
pub(super) struct Event(OwnedHandle);

impl Event {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers but absent ones.
        let handle = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the handle is open, and nobody else knows it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    pub(super) fn set(&self) {
        // SAFETY: an open event.
        unsafe { SetEvent(self.raw()) };
    }
}

/// Waits until one of them is set: which, by the lowest place.
pub(super) fn wait_any(events: &[&Event]) -> io::Result<usize> {
    let handles: Vec<HANDLE> = events.iter().map(|event| event.raw()).collect();
    // SAFETY: `handles` are open events and readable for their number.
    let woken = unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, INFINITE) };
    let place = woken.wrapping_sub(WAIT_OBJECT_0) as usize;
    if place < events.len() { Ok(place) } else { Err(io::Error::last_os_error()) }
}
