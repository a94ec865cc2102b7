//! What scripts and people may rely on in `lanparty doctor`: its exit codes, its JSON also when something is amiss, and
//! its words while it works.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was found is printed")]

use lanparty_lab::Output;
use serde_json::Value;

#[path = "support/programs.rs"]
mod programs;
#[path = "support/street.rs"]
mod street;

use programs::RELAY;
use street::{Street, WAN, ready};

const UNPRIVILEGED: [&str; 5] = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];

fn doctor(street: &Street, starter: &[&str], words: &[&str]) -> Output {
    street.programs.run_through(&street.home, starter, &[&["lanparty", "doctor"], words].concat())
}

/// The JSON on standard output, whose exit code is the program's.
fn json(output: &Output) -> Value {
    let value: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", output.stdout, output.stderr));
    assert_eq!((value["format"].as_u64(), value["exit_code"].as_i64()), (Some(1), output.status.code().map(i64::from)), "{value:#}");
    value
}

fn trusting(street: &Street) -> [String; 6] {
    let certificate = street.programs.certificate().display().to_string();
    ["--relay".into(), RELAY.into(), "--server-name".into(), "lanparty-relay.local".into(), "--relay-ca-cert".into(), certificate]
}

#[test]
fn what_cannot_be_examined_does_not_cost_the_rest_of_the_report() {
    if !ready() {
        return;
    }
    let street = Street::new("rest", "delay=2ms");
    let _relay = street.relay(&[]);
    let options = trusting(&street);
    let words: Vec<&str> = options.iter().map(String::as_str).chain(["--room", "ROOM1", "--json"]).collect();
    let report = json(&doctor(&street, &[], &words));
    assert_eq!((&report["exit_code"], report["findings"].as_array().map(Vec::len)), (&2.into(), Some(0)), "{report:#}");
    assert_eq!(report["facts"]["relay"]["quic"]["ok"], true, "the relay was examined all the same");
    assert!(
        report["not_examined"][0]["cause"].as_str().unwrap().contains("no lanparty client or gateway on this machine is in room ROOM1")
    );
    // A directory of sockets that belongs to somebody else.
    let closed =
        ["env", "LANPARTY_RUNTIME_DIR=/proc/1/root", UNPRIVILEGED[0], UNPRIVILEGED[1], UNPRIVILEGED[2], UNPRIVILEGED[3], UNPRIVILEGED[4]];
    let report = json(&doctor(&street, &closed, &["--room", "--json"]));
    assert!(report["not_examined"][0]["cause"].as_str().unwrap().starts_with("cannot look for running programs"), "{report:#}");
    assert_eq!((&report["exit_code"], &report["facts"]["host"]["os"]), (&2.into(), &"linux".into()));
    let text = doctor(&street, &[], &["--room"]);
    assert_eq!(text.status.code(), Some(2));
    assert!(text.stdout.contains("room not examined: no lanparty client"), "{}", text.stdout);
    let wrong = json(&doctor(&street, &[], &["--relay", RELAY, "--relay-ca-cert", "/nowhere.der", "--json"]));
    assert!(wrong["error"]["cause"].as_str().unwrap().contains("/nowhere.der"), "{wrong:#}");
}

#[test]
fn a_repair_that_is_not_permitted_is_said_beside_the_report() {
    if !ready() {
        return;
    }
    let street = Street::new("fix", "delay=2ms");
    street.home_mtu(1280);
    let version = street.lab.dir().join("version");
    std::fs::write(&version, "Linux version 5.15.167.4-microsoft-standard-WSL2 (gcc 11.2.0) #1 SMP\n").unwrap();
    let mount = format!("mount --bind {} /proc/version && exec \"$@\"", version.display());
    let as_wsl = ["unshare", "-m", "sh", "-c", &mount, "-"];
    let unprivileged = [&as_wsl[..], &UNPRIVILEGED].concat();
    let report = json(&doctor(&street, &unprivileged, &["--fix", "--json"]));
    assert_eq!((&report["repaired"], &report["exit_code"]), (&Value::Null, &1.into()));
    let why = report["not_repaired"].as_str().unwrap();
    assert!(why.contains(&format!("the MTU of {WAN} is 1280 and cannot be raised to 1500")), "{why}");
    assert_eq!(report["findings"][0]["code"], "wsl-eth0-mtu", "{report:#}");
    let root = json(&doctor(&street, &as_wsl, &["--fix", "--json"]));
    assert_eq!(root["not_repaired"], Value::Null);
    assert!(root["repaired"].as_str().unwrap().starts_with(&format!("raised the MTU of `{WAN}` from 1280 to 1500")), "{root:#}");
}

#[test]
fn a_user_without_rights_whose_machine_is_healthy_is_told_of_no_problem() {
    if !ready() {
        return;
    }
    let street = Street::new("user", "delay=2ms");
    let report = json(&doctor(&street, &UNPRIVILEGED, &["--json"]));
    let finding = &report["findings"][0];
    assert_eq!((&report["exit_code"], &finding["code"], &finding["severity"]), (&0.into(), &"missing-permission".into(), &"note".into()));
    let as_gateway = json(&doctor(&street, &UNPRIVILEGED, &["--interface", WAN, "--json"]));
    assert_eq!((&as_gateway["exit_code"], &as_gateway["findings"][0]["severity"]), (&1.into(), &"warning".into()));
    // Who may make a TAP and not read a LAN.
    let no_raw = ["setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw"];
    let report = json(&doctor(&street, &no_raw, &["--interface", WAN, "--json"]));
    assert_eq!(report["findings"][0]["evidence"][0], "this process has no CAP_NET_RAW", "{report:#}");
}

/// One rule decides for both.
#[test]
fn what_the_gateway_refuses_the_doctor_names() {
    if !ready() {
        return;
    }
    let street = Street::new("unfit", "delay=2ms");
    for words in ["tuntap add tap0 mode tap", "link set tap0 up"] {
        street.home.ip(words).unwrap();
    }
    // This kernel may have no bonds and no modems: the program is shown an interface that says so of itself.
    let shown = |change: &str| {
        format!(
            "d=$(mktemp -d) && cp -rL --no-preserve=all /sys/class/net/{WAN} $d/ 2>/dev/null; cd $d/{WAN} && {change}; mount --bind $d /sys/class/net && exec \"$@\""
        )
    };
    let (bond, modem) = (shown("ln -s ../bond0 master"), shown("echo 512 > type"));
    for (name, change) in [("lo", "true"), ("tap0", "true"), (WAN, bond.as_str()), (WAN, modem.as_str())] {
        let starter: &[&str] = if change == "true" { &[] } else { &["unshare", "-m", "sh", "-c", change, "-"] };
        let report = json(&doctor(&street, starter, &["--interface", name, "--json"]));
        assert_eq!((&report["findings"][0]["code"], &report["exit_code"]), (&"lan-interface-unfit".into(), &1.into()), "{name} {change}");
        let words = ["lanparty-gateway", "--relay", RELAY, "--room", "ROOM1", "--interface", name];
        let refused = street.programs.run_through(&street.home, starter, &words);
        assert_eq!(refused.status.code(), Some(2), "{name} {change}");
        assert!(refused.stderr.contains(&format!("error: `{name}` is ")), "{}", refused.stderr);
    }
    let unchanged = shown("true");
    let starter = ["unshare", "-m", "sh", "-c", &unchanged, "-"];
    assert_eq!(json(&doctor(&street, &starter, &["--interface", WAN, "--json"]))["exit_code"], 0);
}

#[test]
fn stages_are_told_in_a_log_and_details_when_asked() {
    if !ready() {
        return;
    }
    let street = Street::new("words", "delay=2ms mtu=1400");
    let _relay = street.relay(&[]);
    let options = trusting(&street);
    let words =
        |more: &[&'static str]| options.iter().map(String::as_str).chain(more.iter().copied()).map(str::to_owned).collect::<Vec<_>>();
    let run = |more: &[&'static str]| doctor(&street, &[], &words(more).iter().map(String::as_str).collect::<Vec<_>>());
    let loud = run(&["-v", "--mtu", "1400", "--pmtu-discovery", "off"]);
    let stages: Vec<&str> = loud.stderr.lines().collect();
    assert!(stages.contains(&"looking up the relay's name …") && stages.len() > 2, "{stages:?}");
    assert!(!loud.stderr.contains('\r'), "no terminal is there to move about in");
    for said in [
        "  error   mtu-flag-too-large: --mtu 1400 asks for more than the path carries, which is 13",
        "          seen: --pmtu-discovery off: larger frames vanish until that is noticed\n",
        "  warning path-black-hole: ",
        "          what to do: ",
        "          more: lanparty doctor --explain path-black-hole\n",
    ] {
        assert!(loud.stdout.contains(said), "`{said}` is not in {}", loud.stdout);
    }
    assert_eq!(run(&["--json"]).stderr, "", "beside JSON nothing is said");
    let page = doctor(&street, &[], &["--explain", "path-black-hole"]).success().unwrap();
    assert!(page.stdout.starts_with("# path-black-hole\n") && page.stdout.contains("## What to do"), "{}", page.stdout);
    let none = doctor(&street, &[], &["--explain", "path-black-hol"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(none.stderr.contains("path-black-hole"), "what was meant is offered: {}", none.stderr);
}
