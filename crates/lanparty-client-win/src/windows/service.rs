//! The client as a service of Windows: it starts with the machine, and stays when users come and go.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode as ProcessExit;
use std::sync::OnceLock;
use std::time::Duration;

use lanparty_nic::windows::report_event;
use lanparty_node::{ExitCode, Fault, StateDir, block_on, end_only_when_requested, request_shutdown, start_logging_into};
use windows_service::service::{
    ServiceAccess, ServiceControl, ServiceControlAccept, ServiceErrorControl, ServiceExitCode, ServiceInfo, ServiceStartType, ServiceState,
    ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};
use winreg::RegKey;
use winreg::enums::HKEY_LOCAL_MACHINE;

use super::host::join;
use crate::cli::Cli;
use crate::log_file::LogFile;

const NAME: &str = "lanparty-client";
const SHOWN_AS: &str = "lanparty client";
/// Its log, beside the identity.
const LOG_FILE: &str = "lanparty-client.log";
/// Programs that write into the event log.
const EVENT_SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
const DESCRIPTION: &str = "Keeps this machine in the LAN of a lanparty room.";
/// Time that Windows is told to grant for taking everything back.
const STOP_HINT: Duration = Duration::from_secs(20);

/// What the service was started for; its entry point has no arguments of ours.
static CLI: OnceLock<Cli> = OnceLock::new();

define_windows_service!(service_entry, serve);

fn refused(what: &str, e: &windows_service::Error) -> Fault {
    let detail = match e {
        windows_service::Error::Winapi(e) => e.to_string(),
        other => other.to_string(),
    };
    Fault::new(
        ExitCode::Permission,
        format!("cannot {what} the service {NAME}: {detail}"),
        "start this program in an Administrator terminal",
    )
}

/// Creates the service. Its runs get the options of this command line.
pub(super) fn install(cli: &Cli) -> Result<(), Fault> {
    if cli.member.is_none() {
        return Err(Fault::new(
            ExitCode::Configuration,
            "the service needs to know its room",
            "say --relay and --room, and the rest as for a run",
        ));
    }
    let failed = |e: io::Error| Fault::new(ExitCode::Unexpected, format!("where this program lies cannot be told: {e}"), "");
    let program = std::env::current_exe().map_err(failed)?;
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CREATE_SERVICE).map_err(|e| refused("install", &e))?;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: SHOWN_AS.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: run_arguments(std::env::args_os().skip(1)),
        dependencies: vec![],
        account_name: None,
        account_password: None,
    };
    let service = manager.create_service(&info, ServiceAccess::CHANGE_CONFIG).map_err(|e| refused("install", &e))?;
    service.set_description(DESCRIPTION).map_err(|e| refused("describe", &e))?;
    register_events().map_err(|e| Fault::new(ExitCode::Permission, format!("the event log does not know the service: {e}"), ""))
}

/// The same words, with `run` for `install`.
fn run_arguments(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let as_run = |arg: OsString| match arg.to_str() {
        Some("install") => "run".into(),
        Some("--service=install") => "--service=run".into(),
        _ => arg,
    };
    args.map(as_run).collect()
}

/// Stops and removes the service.
pub(super) fn uninstall() -> Result<(), Fault> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(|e| refused("remove", &e))?;
    let access = ServiceAccess::STOP | ServiceAccess::DELETE | ServiceAccess::QUERY_STATUS;
    let service = manager.open_service(NAME, access).map_err(|e| refused("remove", &e))?;
    // One that does not run cannot be stopped.
    let _ = service.stop();
    // It may never have been registered there.
    let _ = RegKey::predef(HKEY_LOCAL_MACHINE).delete_subkey_all(format!(r"{EVENT_SOURCES}\{NAME}"));
    service.delete().map_err(|e| refused("remove", &e))
}

/// Is the service, until Windows stops it.
pub(super) fn be(cli: &Cli) -> ProcessExit {
    // Set once: this is the only caller.
    let _ = CLI.set(cli.clone());
    match service_dispatcher::start(NAME, service_entry) {
        Ok(()) => ProcessExit::SUCCESS,
        Err(e) => block_on(async {
            let advice = "only Windows starts it so; install it with --service install, then: sc start lanparty-client";
            Err(Fault::new(ExitCode::Configuration, format!("this is no service run: {e}"), advice))
        }),
    }
}

fn serve(_: Vec<OsString>) {
    let Some(cli) = CLI.get().cloned() else { return };
    let handler = |control| match control {
        ServiceControl::Stop => stop("the service is stopped"),
        ServiceControl::Preshutdown | ServiceControl::Shutdown => stop("Windows shuts down"),
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(status) = service_control_handler::register(NAME, handler) else { return };
    tell(status, ServiceState::Running, ServiceExitCode::NO_ERROR);
    end_only_when_requested();
    log_into_file(&cli);
    event(false, "the client has started");
    let outcome = run(cli);
    match &outcome {
        Ok(()) => event(false, "the client has ended as it was asked to"),
        Err(fault) => event(true, &fault.to_string()),
    }
    let code = outcome.map_or_else(|fault| ServiceExitCode::ServiceSpecific(fault.code as u32), |()| ServiceExitCode::NO_ERROR);
    tell(status, ServiceState::Stopped, code);
}

fn stop(reason: &'static str) -> ServiceControlHandlerResult {
    request_shutdown(reason);
    ServiceControlHandlerResult::NoError
}

fn run(cli: Cli) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fault::new(ExitCode::Unexpected, format!("the event loop cannot start: {e}"), ""))?;
    let outcome = runtime.block_on(join(cli));
    runtime.shutdown_background();
    outcome.inspect_err(|fault| tracing::error!(exit_code = fault.code as u8, "{fault}"))
}

/// Beside the identity. Without it, the event log still says the most important.
fn log_into_file(cli: &Cli) {
    let Some(member) = &cli.member else { return };
    match LogFile::open(&StateDir::locate(member.state_dir.clone()).file(LOG_FILE)) {
        Ok(log) => start_logging_into(member.log_format, log),
        Err(e) => event(true, &format!("no log: {e}")),
    }
}

/// Where even that does not work, nobody can be told.
fn event(is_error: bool, text: &str) {
    let _ = report_event(NAME, is_error, text);
}

/// Lets the event log show the texts of this program as they are.
fn register_events() -> io::Result<()> {
    let (key, _) = RegKey::predef(HKEY_LOCAL_MACHINE).create_subkey(format!(r"{EVENT_SOURCES}\{NAME}"))?;
    key.set_value("EventMessageFile", &r"C:\Windows\System32\EventCreate.exe")?;
    key.set_value("TypesSupported", &7_u32)
}

/// Windows forgets a service that does not say how it is; nothing can be done where it does not listen.
fn tell(status: ServiceStatusHandle, state: ServiceState, exit_code: ServiceExitCode) {
    let controls_accepted = match state {
        ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN,
        _ => ServiceControlAccept::empty(),
    };
    let _ = status.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted,
        exit_code,
        checkpoint: 0,
        wait_hint: STOP_HINT,
        process_id: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_the_service_has_the_words_of_its_installation() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let installed = words("--service install --relay relay.example.net --room ROOM1");
        assert_eq!(run_arguments(installed.into_iter()), words("--service run --relay relay.example.net --room ROOM1"));
    }
}
