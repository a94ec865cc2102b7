//! Restarts a network adapter, so that its driver reads its settings anew (SetupAPI, DICS_PROPCHANGE): what disabling and
//! enabling it in Windows does.

use std::io;

use windows_sys::Win32::Devices::DeviceAndDriverInstallation::{
    DI_NEEDREBOOT, DI_NEEDRESTART, DICS_FLAG_GLOBAL, DICS_PROPCHANGE, DIF_PROPERTYCHANGE, DIGCF_PRESENT, GUID_DEVCLASS_NET, HDEVINFO,
    SP_CLASSINSTALL_HEADER, SP_DEVINFO_DATA, SP_DEVINSTALL_PARAMS_W, SP_PROPCHANGE_PARAMS, SPDRP_DRIVER, SetupDiCallClassInstaller,
    SetupDiDestroyDeviceInfoList, SetupDiEnumDeviceInfo, SetupDiGetClassDevsW, SetupDiGetDeviceInstallParamsW,
    SetupDiGetDeviceRegistryPropertyW, SetupDiSetClassInstallParamsW,
};

/// Devices that are looked through at most.
const DEVICES_MAX: u32 = 4096;
/// Longest name of a driver key: a GUID, a backslash and four digits, with room.
const KEY_LEN_MAX: usize = 256;

/// Network devices of this machine.
struct Devices(HDEVINFO);

impl Drop for Devices {
    fn drop(&mut self) {
        // SAFETY: an open list, closed once.
        unsafe { SetupDiDestroyDeviceInfoList(self.0) };
    }
}

/// Restarts the adapter whose driver's settings are at `{class}\NNNN` of the registry, given as `NNNN`.
///
/// # Errors
/// When there is no such adapter, or Windows does not restart it without restarting itself.
pub fn restart_network_adapter(class_key: &str) -> io::Result<()> {
    let class = GUID_DEVCLASS_NET;
    // SAFETY: the class is ours for the length of the call; the absent pointers are optional.
    let list = unsafe { SetupDiGetClassDevsW(&raw const class, std::ptr::null(), std::ptr::null_mut(), DIGCF_PRESENT) };
    if list == -1 {
        return Err(io::Error::last_os_error());
    }
    let devices = Devices(list);
    let mut device = find(&devices, class_key)?;
    let change = SP_PROPCHANGE_PARAMS {
        ClassInstallHeader: SP_CLASSINSTALL_HEADER {
            cbSize: size_of::<SP_CLASSINSTALL_HEADER>() as u32,
            InstallFunction: DIF_PROPERTYCHANGE,
        },
        StateChange: DICS_PROPCHANGE,
        Scope: DICS_FLAG_GLOBAL,
        HwProfile: 0,
    };
    let len = size_of::<SP_PROPCHANGE_PARAMS>() as u32;
    // SAFETY: the list is open, the device is one of it, and the parameters begin with their header and have this length.
    succeeded(unsafe { SetupDiSetClassInstallParamsW(devices.0, &raw mut device, (&raw const change).cast(), len) })?;
    // SAFETY: as above.
    succeeded(unsafe { SetupDiCallClassInstaller(DIF_PROPERTYCHANGE, devices.0, &raw mut device) })?;
    if needs_reboot(&devices, &mut device) {
        return Err(io::Error::other("Windows has to be restarted before the adapter can be"));
    }
    Ok(())
}

fn find(devices: &Devices, class_key: &str) -> io::Result<SP_DEVINFO_DATA> {
    for index in 0..DEVICES_MAX {
        let mut device = SP_DEVINFO_DATA { cbSize: size_of::<SP_DEVINFO_DATA>() as u32, ..SP_DEVINFO_DATA::default() };
        // SAFETY: the list is open, and the structure ours.
        succeeded(unsafe { SetupDiEnumDeviceInfo(devices.0, index, &raw mut device) }).map_err(|_| io::ErrorKind::NotFound)?;
        if driver_key(devices, &device).is_some_and(|key| key.rsplit('\\').next() == Some(class_key)) {
            return Ok(device);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// `{class}\NNNN`.
fn driver_key(devices: &Devices, device: &SP_DEVINFO_DATA) -> Option<String> {
    let mut text = [0u16; KEY_LEN_MAX];
    let len = size_of_val(&text) as u32;
    // SAFETY: the list is open, the device is one of it, and `text` is writable for `len` bytes; the absent pointers are optional.
    succeeded(unsafe {
        SetupDiGetDeviceRegistryPropertyW(
            devices.0,
            device,
            SPDRP_DRIVER,
            std::ptr::null_mut(),
            text.as_mut_ptr().cast(),
            len,
            std::ptr::null_mut(),
        )
    })
    .ok()?;
    let end = text.iter().position(|unit| *unit == 0)?;
    Some(String::from_utf16_lossy(&text[..end]))
}

fn needs_reboot(devices: &Devices, device: &mut SP_DEVINFO_DATA) -> bool {
    let mut params = SP_DEVINSTALL_PARAMS_W { cbSize: size_of::<SP_DEVINSTALL_PARAMS_W>() as u32, ..SP_DEVINSTALL_PARAMS_W::default() };
    // SAFETY: the list is open, the device is one of it, and the structure ours.
    let is_known = succeeded(unsafe { SetupDiGetDeviceInstallParamsW(devices.0, device, &raw mut params) }).is_ok();
    is_known && params.Flags & (DI_NEEDREBOOT | DI_NEEDRESTART) != 0
}

fn succeeded(outcome: windows_sys::core::BOOL) -> io::Result<()> {
    if outcome == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
