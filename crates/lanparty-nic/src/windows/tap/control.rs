//! The adapter's handle, and what its driver can be asked and told (tap-windows6, tap-windows.h).

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::sync::{Arc, OnceLock, Weak};

use lanparty_proto::MacAddr;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND, ERROR_GEN_FAILURE, ERROR_IO_PENDING, ERROR_PATH_NOT_FOUND, ERROR_SHARING_VIOLATION,
    GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE, STATUS_PENDING,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_ATTRIBUTE_SYSTEM, FILE_FLAG_OVERLAPPED, OPEN_EXISTING, ReadFile, WriteFile,
};
use windows_sys::Win32::System::IO::{CancelIoEx, DeviceIoControl, GetOverlappedResult, OVERLAPPED};

use super::super::handle::Event;
use super::super::wide;
use super::queues::Queues;

/// `TAP_WIN_CONTROL_CODE`: device type 0x22, buffered, any access.
const fn control_code(request: u32) -> u32 {
    0x22 << 16 | request << 2
}
const GET_MAC: u32 = control_code(1);
const GET_VERSION: u32 = control_code(2);
const GET_MTU: u32 = control_code(3);
const SET_MEDIA_STATUS: u32 = control_code(6);
/// Of the test driver alone.
const GET_TRIAL: u32 = control_code(0x700);
const BEGIN_TRIAL: u32 = control_code(0x701);
const SET_GONE: u32 = control_code(0x702);

/// How frames go that the test driver makes at a pace of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacedTrial {
    /// Frames that the driver has dropped since it was loaded, as nobody read them in time.
    pub dropped: u32,
    /// Frames that are still to come.
    pub left: u32,
    /// Frames that came more than 5 ms late, as the machine was busy.
    pub late: u32,
    /// How long all of them took, once none is left.
    pub millis: u32,
}

/// Why an adapter cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapOpenError {
    /// Its driver does not run: it was disabled or removed.
    #[error("its driver does not answer: the adapter is disabled, or TAP-Windows6 was removed")]
    NotThere,
    /// The driver lets one program in.
    #[error("another program uses it")]
    InUse,
    /// Only administrators may.
    #[error("Windows does not allow it")]
    NotPermitted,
    /// Anything else.
    #[error("{0}")]
    Os(io::Error),
}

impl From<io::Error> for TapOpenError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map_or(0, i32::cast_unsigned) {
            ERROR_FILE_NOT_FOUND | ERROR_PATH_NOT_FOUND => Self::NotThere,
            ERROR_GEN_FAILURE | ERROR_SHARING_VIOLATION => Self::InUse,
            ERROR_ACCESS_DENIED => Self::NotPermitted,
            _ => Self::Os(error),
        }
    }
}

/// An open adapter: asks and tells its driver, from any thread.
#[derive(Clone, Debug)]
pub struct TapControl {
    handle: Arc<OwnedHandle>,
    /// Who waits for the cable.
    queues: Arc<OnceLock<Weak<Queues>>>,
}

impl TapControl {
    pub(super) fn open(path: &str) -> Result<Self, TapOpenError> {
        let path = wide(path);
        let (access, flags) = (GENERIC_READ | GENERIC_WRITE, FILE_ATTRIBUTE_SYSTEM | FILE_FLAG_OVERLAPPED);
        // SAFETY: `path` ends with a zero; the absent pointers are optional.
        let handle = unsafe { CreateFileW(path.as_ptr(), access, 0, std::ptr::null(), OPEN_EXISTING, flags, std::ptr::null_mut()) };
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error().into());
        }
        // SAFETY: the call succeeded, so the handle is open, and nobody else knows it.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok(Self { handle: Arc::new(handle), queues: Arc::default() })
    }

    /// Lets these know of the cable.
    pub(super) fn tell(&self, queues: &Arc<Queues>) {
        // Set once, when the device starts.
        let _ = self.queues.set(Arc::downgrade(queues));
    }

    /// The address that the adapter uses now, which Windows may have read from `NetworkAddress`.
    ///
    /// # Errors
    /// What the driver said.
    pub fn mac(&self) -> io::Result<MacAddr> {
        let mut mac = [0; 6];
        self.ask(GET_MAC, &[], &mut mac)?;
        Ok(MacAddr(mac))
    }

    /// The driver's own MTU in bytes: that of its registry settings, not of IP.
    ///
    /// # Errors
    /// What the driver said.
    pub fn mtu(&self) -> io::Result<u32> {
        let mut mtu = [0; 4];
        self.ask(GET_MTU, &[], &mut mtu)?;
        Ok(u32::from_le_bytes(mtu))
    }

    /// The driver's version, as `9.26`.
    ///
    /// # Errors
    /// What the driver said.
    pub fn version(&self) -> io::Result<String> {
        let mut numbers = [0; 12];
        self.ask(GET_VERSION, &[], &mut numbers)?;
        let number = |at: usize| numbers[at..].first_chunk().copied().map_or(0, u32::from_le_bytes);
        Ok(format!("{}.{}", number(0), number(4)))
    }

    /// Plugs the virtual cable in or out. Frames pass only while it is plugged in.
    ///
    /// # Errors
    /// What the driver said.
    pub fn set_media(&self, up: bool) -> io::Result<()> {
        let queues = self.queues.get().and_then(Weak::upgrade);
        if let Some(queues) = queues.as_ref().filter(|_| !up) {
            // First, so that the reads which end now are known to end for this.
            queues.set_media(false);
        }
        self.ask(SET_MEDIA_STATUS, &u32::from(up).to_le_bytes(), &mut [0; 4])?;
        if let Some(queues) = queues.filter(|_| up) {
            queues.set_media(true);
        }
        Ok(())
    }

    /// Lets the test driver make `frames` frames for this adapter, so many a second.
    ///
    /// # Errors
    /// With any other driver.
    pub fn begin_trial(&self, frames: u32, per_second: u32) -> io::Result<()> {
        let mut request = [0; 8];
        request[..4].copy_from_slice(&frames.to_le_bytes());
        request[4..].copy_from_slice(&per_second.to_le_bytes());
        self.ask(BEGIN_TRIAL, &request, &mut []).map(drop)
    }

    /// How the frames of the test driver go.
    ///
    /// # Errors
    /// With any other driver.
    pub fn trial(&self) -> io::Result<PacedTrial> {
        let mut numbers = [0; 16];
        self.ask(GET_TRIAL, &[], &mut numbers)?;
        let number = |at: usize| numbers[4 * at..].first_chunk().copied().map_or(0, u32::from_le_bytes);
        Ok(PacedTrial { dropped: number(0), left: number(1), late: number(2), millis: number(3) })
    }

    /// Lets the test driver's adapter go, as one that is disabled, or come back.
    ///
    /// # Errors
    /// With any other driver.
    pub fn set_gone(&self, gone: bool) -> io::Result<()> {
        self.ask(SET_GONE, &u32::from(gone).to_le_bytes(), &mut []).map(drop)
    }

    /// One request to the driver, and its answer.
    fn ask(&self, code: u32, input: &[u8], answer: &mut [u8]) -> io::Result<usize> {
        let mut operation = Operation::new(0)?;
        let overlapped = operation.begin();
        // SAFETY: both buffers and the structure outlive the operation, because it is waited for before they go.
        let started = unsafe {
            DeviceIoControl(
                self.raw(),
                code,
                input.as_ptr().cast(),
                input.len() as u32,
                answer.as_mut_ptr().cast(),
                answer.len() as u32,
                std::ptr::null_mut(),
                overlapped,
            )
        };
        operation.started(started)?;
        operation.finish(self)
    }

    fn raw(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }
}

/// One overlapped operation with its own buffer, one at a time. Its memory does not move, and outlives what the driver does with it.
pub(super) struct Operation {
    overlapped: Box<OVERLAPPED>,
    event: Event,
    buffer: Box<[u8]>,
    is_pending: bool,
}

// SAFETY: the pointers inside are to the boxes beside them, which move with it.
unsafe impl Send for Operation {}

impl Operation {
    /// With a buffer of `len` bytes.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let (event, buffer) = (Event::new()?, vec![0; len].into_boxed_slice());
        Ok(Self { overlapped: Box::default(), event, buffer, is_pending: false })
    }

    /// Set when the operation has ended.
    pub(super) const fn event(&self) -> &Event {
        &self.event
    }

    pub(super) const fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    fn begin(&mut self) -> *mut OVERLAPPED {
        assert!(!self.is_pending, "INVARIANT: one operation at a time");
        // Each call that begins an operation resets its event itself.
        *self.overlapped = OVERLAPPED { hEvent: self.event.raw(), ..OVERLAPPED::default() };
        &raw mut *self.overlapped
    }

    fn started(&mut self, outcome: windows_sys::core::BOOL) -> io::Result<()> {
        let error = io::Error::last_os_error();
        self.is_pending = outcome != 0 || error.raw_os_error() == Some(ERROR_IO_PENDING.cast_signed());
        if self.is_pending { Ok(()) } else { Err(error) }
    }

    /// Whether it has ended, asked of its memory alone: a wait costs a system call, and frames often come several at once.
    pub(super) fn has_ended(&self) -> bool {
        // SAFETY: the field is ours; the driver writes it once, at the end, so it is read as what may change at any time.
        let status = unsafe { (&raw const self.overlapped.Internal).read_volatile() };
        status != STATUS_PENDING as usize
    }

    /// Starts to read one frame.
    pub(super) fn read(&mut self, tap: &TapControl) -> io::Result<()> {
        let overlapped = self.begin();
        // SAFETY: buffer and structure are boxed and stay until the operation has ended: `Drop` waits for that.
        let outcome = unsafe { ReadFile(tap.raw(), self.buffer.as_mut_ptr(), self.buffer.len() as u32, std::ptr::null_mut(), overlapped) };
        self.started(outcome)
    }

    /// Starts to write one frame, which must fit the buffer.
    pub(super) fn write(&mut self, tap: &TapControl, frame: &[u8]) -> io::Result<()> {
        let overlapped = self.begin();
        self.buffer.get_mut(..frame.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(frame);
        // SAFETY: as for reading.
        let outcome = unsafe { WriteFile(tap.raw(), self.buffer.as_ptr(), frame.len() as u32, std::ptr::null_mut(), overlapped) };
        self.started(outcome)
    }

    /// Waits for its end: how many bytes passed.
    pub(super) fn finish(&mut self, tap: &TapControl) -> io::Result<usize> {
        let mut len = 0;
        // SAFETY: an operation of this handle that has begun, whose structure is ours.
        let outcome = unsafe { GetOverlappedResult(tap.raw(), &raw const *self.overlapped, &raw mut len, 1) };
        self.is_pending = false;
        if outcome == 0 { Err(io::Error::last_os_error()) } else { Ok(len as usize) }
    }

    /// Ends it early, and waits until the driver has let go of its memory.
    pub(super) fn cancel(&mut self, tap: &TapControl) {
        if self.is_pending {
            // SAFETY: an operation of this handle that has begun; one that has ended meanwhile is left alone.
            unsafe { CancelIoEx(tap.raw(), &raw const *self.overlapped) };
            // What it brought is nobody's any more.
            let _ = self.finish(tap);
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        assert!(!self.is_pending, "INVARIANT: every operation is finished or cancelled before its memory goes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_asked_by_the_numbers_of_its_header() {
        assert_eq!((GET_MAC, GET_VERSION, GET_MTU, SET_MEDIA_STATUS), (0x0022_0004, 0x0022_0008, 0x0022_000c, 0x0022_0018));
    }

    #[test]
    fn an_adapter_without_a_driver_is_not_there() {
        let opened = TapControl::open(r"\\.\Global\{00000000-0000-0000-0000-000000000001}.tap");
        assert!(matches!(opened, Err(TapOpenError::NotThere)), "{opened:?}");
    }
}
