//! Options from files and the environment: a relay and clients that an n3n configuration became, and what is said of wrong files.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "support/programs.rs"]
mod programs;
#[path = "support/town.rs"]
mod town;

use lanparty_lab::{Namespace, Proc};
use programs::SOON;
use town::{Town, ready};

/// As n3n's users write them: every file of a small network.
const SUPERNODE: &str = "[connection]\nbind=7777\n\n[supernode]\nauto_ip_min=10.131.0.0/24\nauto_ip_max=10.131.0.0/24\n";
const EDGE: &str = "\
# An edge of a small network.
[tuntap]
name=n3n0
macaddr=DE:AD:BE:EF:99:99
address=10.131.0.77
[community]
name=mynetwork
key=mypassword
supernode=10.99.0.1:7777
[connection]
bind=50001
[filter]
rule=0.0.0.0/0,10.131.0.77/32:[2000,2999],UDP-
";

/// Machines whose options are in files.
impl Town {
    /// What `lanparty config import-n3n` makes of `text`, in a file.
    fn imported(&self, name: &str, text: &str, more: &str) -> String {
        let theirs = self.write(&format!("{name}.conf"), text);
        let output = self.programs.run(&self.relay_host, &["lanparty", "config", "import-n3n", &theirs]).success().unwrap();
        assert!(!output.stderr.contains("NOT CARRIED OVER") && !output.stderr.contains("mypassword"), "{}", output.stderr);
        let ours = self.write(&format!("{name}.toml"), &format!("{}{more}", output.stdout));
        let checked = self.programs.run(&self.relay_host, &["lanparty", "config", "check", &ours]);
        assert!(checked.status.success(), "{}", checked.stderr);
        ours
    }

    fn run(&self, host: &Namespace, file: &str) -> Proc {
        host.spawn(self.programs.program(host, "lanparty").arg("run").arg(file)).unwrap()
    }
}

#[test]
fn a_network_of_n3n_moves_over_file_by_file() {
    if !ready() {
        return;
    }
    let town = Town::new("n3n", 2);
    // Paths in a file are taken from where it is.
    let relay = town.run(&town.relay_host, &town.imported("supernode", SUPERNODE, "dev-cert-der-out = \"relay-cert.der\"\n"));
    relay.wait_for("lanparty-relay listening on", SOON).unwrap();
    let trust = "relay-ca-cert = \"relay-cert.der\"\nserver-name = \"lanparty-relay.local\"\n";
    let [a, b] = [&town.machines[0], &town.machines[1]];
    let (one, other) = (EDGE, EDGE.replace("address=10.131.0.77\n", "").replace("99:99", "99:98"));
    let one_client = town.run(a, &town.imported("edge", one, trust));
    // First, so that the relay does not assign the other one what this one was told to take: it does by chance, once in a while.
    one_client.wait_for("address 10.131.0.77/24 (static) is set on n3n0", SOON).unwrap();
    let other_client = town.run(b, &town.imported("other", &other, trust));
    other_client.wait_for("TAP is up", SOON).unwrap();
    // One address was said, the other is assigned from the supernode's pool.
    let ping = b.run_any(&["ping", "-n", "-c", "1", "-w", "20", "-I", "n3n0", "10.131.0.77"]);
    assert!(ping.unwrap().status.success(), "{}", other_client.tail());
    let kernel = a.ip("addr show dev n3n0").unwrap().stdout;
    assert!(kernel.contains("de:ad:be:ef:99:99") && kernel.contains("10.131.0.77/24"), "{kernel}");
    let status = town.status(0);
    assert_eq!(status["frames"]["filter"]["rules"].as_array().map(Vec::len), Some(1), "{status:#}");
}

/// What n3n ships as docs/edge.conf.sample, docs/supernode.conf.sample and docs/community.list.sample, its comments left out. Only where the
/// supernode is, and that there is a list, was filled in.
const SAMPLE_EDGE: &str = "\
[tuntap]
name=n3n0
macaddr=DE:AD:BE:EF:99:99
address=1.2.3.4
[community]
name=mynetwork
key=mypassword
supernode=10.99.0.1:7777
[connection]
bind=50001
";
const SAMPLE_SUPERNODE: &str = "[connection]\nbind=7777\n[supernode]\ncommunity_file=community.list\n";
const SAMPLE_LIST: &str = "mynetwork\nnetleo\nntop[0-1][0-9]\nhome 192.168.168.0/24\n";

#[test]
fn the_samples_of_n3n_become_a_relay_with_its_rooms_and_their_members() {
    if !ready() {
        return;
    }
    let town = Town::new("samples", 3);
    let run = |words: &[&str]| town.programs.run(&town.relay_host, words);
    let imported = run(&["lanparty", "config", "import-n3n", &town.write("supernode.conf", SAMPLE_SUPERNODE)]);
    // The list is a file of its own, and the import says what to do with it.
    assert!(
        imported.stderr.contains("NOT CARRIED OVER") && imported.stderr.contains("import-communities community.list > rooms.toml"),
        "{}",
        imported.stderr
    );
    let rooms = run(&["lanparty-relay", "import-communities", &town.write("community.list", SAMPLE_LIST)]).success().unwrap();
    town.write("rooms.toml", &rooms.stdout);
    let more = "rooms = \"rooms.toml\"\ndev-cert-der-out = \"relay-cert.der\"\n";
    let relay = town.run(&town.relay_host, &town.write("relay.toml", &format!("{}{more}", imported.stdout)));
    relay.wait_for("lanparty-relay listening on", SOON).unwrap();
    let trust = "relay-ca-cert = \"relay-cert.der\"\nserver-name = \"lanparty-relay.local\"\n";
    let one = town.run(&town.machines[0], &town.imported("edge", SAMPLE_EDGE, trust));
    let other = SAMPLE_EDGE.replace("99:99", "99:98").replace("1.2.3.4", "1.2.3.5");
    let _other = town.run(&town.machines[1], &town.imported("other", &other, trust));
    one.wait_for("address 1.2.3.4/24 (static) is set on n3n0", SOON).unwrap();
    let ping = town.machines[1].run_any(&["ping", "-n", "-c", "1", "-w", "20", "-I", "n3n0", "1.2.3.4"]);
    assert!(ping.unwrap().status.success(), "{}", one.tail());
    // Of the others: one by expression, one with the network that the list gives it, and one that is not on it.
    let visit = |room: &str| {
        let options = [vec!["--relay".to_owned(), "10.99.0.1:7777".to_owned()], town.programs.member_options(room).split_off(2)].concat();
        let client = town.programs.program(&town.machines[2], "lanparty").arg("client").args(options);
        town.machines[2].spawn(client.arg("--no-direct")).unwrap()
    };
    for (room, address) in [("ntop07", "10."), ("home", "192.168.168.")] {
        let client = visit(room);
        assert!(town.addresses(2)[0].starts_with(address), "{room}: {}", client.tail());
        client.sigterm();
        client.exit_code(SOON).unwrap();
    }
    let stranger = visit("ntop20");
    assert_eq!(stranger.exit_code(SOON).unwrap(), 4, "{}", stranger.tail());
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    if !ready() {
        return;
    }
    let town = Town::new("order", 1);
    let _relay = town.relay(&[]);
    let machine = &town.machines[0];
    let certificate = town.programs.certificate();
    let text = format!(
        "[client]\nrelay = \"10.99.0.1\"\nserver-name = \"lanparty-relay.local\"\nrelay-ca-cert = \"{}\"\nroom = \"FILE\"\ntap-name = \"tap-file\"\n\
         address = [\"static:10.1.1.1/24\"]\n",
        certificate.display()
    );
    let file = town.write("client.toml", &text);
    let start = |room: Option<&str>, words: &[&str]| {
        let program = town.programs.program(machine, "lanparty").args(["client", "--config", &file]).args(words);
        machine.spawn(room.map_or(program.clone(), |room| program.env("LANPARTY_ROOM", room))).unwrap()
    };
    for (room, words, tap) in [
        ((None, "FILE"), vec![], "tap-file"),
        ((Some("ENVIRONMENT"), "ENVIRONMENT"), vec!["--tap-name", "tap-typed"], "tap-typed"),
        ((Some("ENVIRONMENT"), "TYPED"), vec!["--room", "TYPED"], "tap-file"),
    ] {
        let client = start(room.0, &words);
        client.wait_for("TAP is up", SOON).unwrap();
        let status = town.status(0);
        assert_eq!((&status["room"], &status["interface"]), (&room.1.into(), &tap.into()), "{status:#}");
        client.sigint();
        assert_eq!(client.exit_code(SOON).unwrap(), 0);
    }
}

#[test]
fn a_wrong_file_is_said_with_its_lines_and_nothing_is_started() {
    if !ready() {
        return;
    }
    let town = Town::new("wrong", 1);
    for (text, words) in [
        (
            "[client]\nrely = \"h\"\nrom = \"A\"\ntap_name = \"x\"\n",
            vec!["line 2: ", "`relay`", "line 3: ", "`room`", "line 4: ", "`tap-name`"],
        ),
        ("[client]\nrelay = \"h\"\n", vec!["lacks `room` in its table [client]"]),
        ("[client]\nrelay = \"h\"\nroom = \"A\"\naddress = \"static:10.0.0.1/33\"\n", vec!["line 4: ", "10.0.0.1/33"]),
        ("[client]\nrelay = \"h\"\nroom = \"A\"\nfilter-rule = [\"10.0.0.0/8:[9,5],any,UDP+\"]\n", vec!["line 4: ", "5", "9"]),
        ("[client]\nrelay = \"h\"\nroom = \"A\"\nfilter = \"nowhere.toml\"\n", vec!["nowhere.toml cannot be read"]),
        ("[client]\nrelay = \"h\"\nroom = \"A\"\naddress = [\"none\", \"dhcp\"]\n", vec!["none is said beside another address"]),
        ("[relay]\n", vec!["nobody has said which rooms it has", "--open"]),
        ("[relay]\nopen = true\nrooms = \"nowhere.toml\"\n", vec!["nowhere.toml cannot be read"]),
        ("[cable]\n", vec!["a cable needs the other end's key", "--peer"]),
        ("", vec!["has no table"]),
        ("[client]\n[relay]\n", vec!["has several tables", "--role"]),
        ("[client\n", vec!["line 1: "]),
    ] {
        let file = town.write("wrong.toml", text);
        let output = town.programs.run(&town.machines[0], &["lanparty", "run", &file]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", output.stderr);
        // Several tables are right, and one of them is run.
        let checks: &[_] = if text.contains("\n[") {
            &[output]
        } else {
            &[output, town.programs.run(&town.machines[0], &["lanparty", "config", "check", &file])]
        };
        for (said, word) in checks.iter().flat_map(|said| words.iter().map(move |word| (said, word))) {
            assert_eq!(said.status.code(), Some(2), "{}: {text}: {}", said.command, said.stderr);
            assert!(said.stderr.contains(word), "{}: {text}: {} lacks {word}", said.command, said.stderr);
        }
    }
}
