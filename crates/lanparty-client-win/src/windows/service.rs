//! The client as a service of Windows: it starts with the machine, and stays when users come and go.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode as ProcessExit;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lanparty_nic::windows::report_event;
use lanparty_node::{ExitCode, Fault, StateDir, block_on, end_only_when_requested, request_shutdown, start_logging_into};
use windows_service::service::{
    Service, ServiceAccess, ServiceControl, ServiceControlAccept, ServiceErrorControl, ServiceExitCode, ServiceInfo, ServiceStartType,
    ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};
use winreg::RegKey;
use winreg::enums::HKEY_LOCAL_MACHINE;

use super::host::{join, open_journal};
use super::net::WindowsNet;
use crate::cli::Cli;
use crate::log_file::LogFile;
use crate::policy::recover;

const NAME: &str = "lanparty-client";
const SHOWN_AS: &str = "lanparty client";
/// Its log, beside the identity.
const LOG_FILE: &str = "lanparty-client.log";
/// Programs that write into the event log.
const EVENT_SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";
/// What the service is told by its installation, as Windows keeps it for services.
const PARAMETERS: &str = r"SYSTEM\CurrentControlSet\Services\lanparty-client\Parameters";
/// The value with the directory of its state.
const STATE_DIR: &str = "StateDir";
const DESCRIPTION: &str = "Keeps this machine in the LAN of a lanparty room.";
/// Time that Windows is told to grant for taking everything back.
const STOP_HINT: Duration = Duration::from_secs(20);
/// How often its end is looked for.
const STOP_POLL: Duration = Duration::from_millis(200);

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

fn unexpected(what: &str, e: &io::Error) -> Fault {
    Fault::new(ExitCode::Unexpected, format!("{what}: {e}"), "")
}

/// Creates the service. Its runs get the options of this command line.
pub(super) fn install(cli: &Cli) -> Result<(), Fault> {
    let Some(member) = &cli.member else {
        return Err(Fault::new(
            ExitCode::Configuration,
            "the service needs to know its room",
            "say --relay and --room, and the rest as for a run",
        ));
    };
    let program = std::env::current_exe().map_err(|e| unexpected("where this program lies cannot be told", &e))?;
    let state_dir = member.state_dir.clone().unwrap_or_else(own_state_dir);
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CREATE_SERVICE).map_err(|e| refused("install", &e))?;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: SHOWN_AS.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: run_arguments(std::env::args_os().skip(1), member.state_dir.is_none().then_some(&state_dir)),
        dependencies: vec![],
        account_name: None,
        account_password: None,
    };
    let service = manager.create_service(&info, ServiceAccess::CHANGE_CONFIG).map_err(|e| refused("install", &e))?;
    service.set_description(DESCRIPTION).map_err(|e| refused("describe", &e))?;
    remember(&state_dir).map_err(|e| unexpected("where the service keeps its state cannot be noted", &e))?;
    register_events().map_err(|e| Fault::new(ExitCode::Permission, format!("the event log does not know the service: {e}"), ""))
}

/// The service's own place: it has another user's directories than who installs it, and that one takes back what it leaves.
fn own_state_dir() -> PathBuf {
    std::env::var_os("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from).join("lanparty")
}

fn remember(state_dir: &Path) -> io::Result<()> {
    let (key, _) = RegKey::predef(HKEY_LOCAL_MACHINE).create_subkey(PARAMETERS)?;
    key.set_value(STATE_DIR, &state_dir.as_os_str())
}

fn remembered() -> Option<PathBuf> {
    let key = RegKey::predef(HKEY_LOCAL_MACHINE).open_subkey(PARAMETERS).ok()?;
    key.get_value::<OsString, _>(STATE_DIR).ok().map(PathBuf::from)
}

/// The same words, with `run` for `install`, and the state directory where they do not name it.
fn run_arguments(args: impl Iterator<Item = OsString>, state_dir: Option<&PathBuf>) -> Vec<OsString> {
    let as_run = |arg: OsString| match arg.to_str() {
        Some("install") => "run".into(),
        Some("--service=install") => "--service=run".into(),
        _ => arg,
    };
    let state_dir = state_dir.into_iter().flat_map(|dir| [OsString::from("--state-dir"), dir.into()]);
    args.map(as_run).chain(state_dir).collect()
}

/// Stops and removes the service, and what it left on this machine.
pub(super) fn uninstall() -> Result<(), Fault> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(|e| refused("remove", &e))?;
    let access = ServiceAccess::STOP | ServiceAccess::DELETE | ServiceAccess::QUERY_STATUS;
    let service = manager.open_service(NAME, access).map_err(|e| refused("remove", &e))?;
    let state_dir = remembered();
    stop_and_wait(&service);
    service.delete().map_err(|e| refused("remove", &e))?;
    for key in [format!(r"{EVENT_SOURCES}\{NAME}"), PARAMETERS.to_owned()] {
        // It may never have been made.
        let _ = RegKey::predef(HKEY_LOCAL_MACHINE).delete_subkey_all(key);
    }
    state_dir.map_or(Ok(()), |dir| clear(&dir))
}

/// One that does not run cannot be stopped.
fn stop_and_wait(service: &Service) {
    let _ = service.stop();
    let deadline = Instant::now() + STOP_HINT;
    while service.query_status().is_ok_and(|status| status.current_state != ServiceState::Stopped) && Instant::now() < deadline {
        std::thread::sleep(STOP_POLL);
    }
}

/// Takes back what a run that crashed has left, and then removes the directory, if nobody but the service chose it.
fn clear(state_dir: &Path) -> Result<(), Fault> {
    let journal = open_journal(Some(state_dir.to_owned()))?;
    recover(&journal, &mut WindowsNet);
    if !journal.changes().is_empty() {
        let advice = format!("lanparty-client-win --undo --state-dir \"{}\" tries again", state_dir.display());
        return Err(Fault::new(ExitCode::Unexpected, "the service is removed, and not all that it left could be taken back", advice));
    }
    if state_dir != own_state_dir() {
        return Ok(());
    }
    match std::fs::remove_dir_all(state_dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unexpected("the state of the service cannot be removed", &e)),
        _ => Ok(()),
    }
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
        let run = "--service run --relay relay.example.net --room ROOM1";
        assert_eq!(run_arguments(installed.clone().into_iter(), None), words(run));
        let dir = PathBuf::from("D:\\state");
        assert_eq!(run_arguments(installed.into_iter(), Some(&dir)), words(&format!("{run} --state-dir D:\\state")));
    }
}
