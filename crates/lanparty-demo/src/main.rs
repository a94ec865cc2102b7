//! `lanparty-demo`: a LAN party with a friend at home, all of it on this machine, to watch and to judge.
//!
//! The real programs run on the lab's network: a LAN with a DHCP server, PCs and a game server; a relay on the internet; a gateway; a
//! client at home. A *director* puts them on stage and observes, and tells the *scene* in events. The scene is pure: it knows
//! what is seen and judges it by the guide's conditions. It is shown as a *screen* in a terminal, else as *plain* lines.

#[cfg(target_os = "linux")]
mod director;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod plain;
#[cfg(target_os = "linux")]
mod scene;
#[cfg(target_os = "linux")]
mod screen;
#[cfg(target_os = "linux")]
mod show;
#[cfg(target_os = "linux")]
mod supervise;
#[cfg(target_os = "linux")]
mod view;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let options = <options::Options as clap::Parser>::parse();
    match supervise::part() {
        supervise::Part::Watch => supervise::watch(),
        supervise::Part::Play => show::run(&options),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use std::io::Write;
    // Nobody to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "the demo needs Linux: it is made of its network namespaces");
    std::process::ExitCode::FAILURE
}
