//! Management as its users meet it: `curl` on a socket, `lanparty rpc`, another user's eyes; and each program is what its own document
//! says.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the report, and what was found is printed")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lanparty_lab::{Bonded, Bulk, Dual, DualOptions, LineOptions, Namespace, Output, Proc, Requirements, Tool, Way};
use prometheus_parse::{Scrape, Value as Number};
use serde_json::{Value, json};
use support::{Evening, ROOM, SOON, eventually, ready};

/// Nobody in particular, in a group that may look.
const STRANGER: &str = "65534";
const GROUP: &str = "61234";

/// The socket of that name on a host.
fn socket(evening: &Evening, host: &Namespace, name: &str) -> PathBuf {
    evening.dir(host).join("run").join(name)
}

/// Calls methods by `curl` on a socket: the answer's status, and its body.
fn curl(host: &Namespace, starter: &[&str], socket: &Path, path: &str, more: &[&str]) -> (u16, String) {
    let url = format!("http://localhost{path}");
    let socket = socket.to_str().unwrap();
    let words = ["curl", "--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}", "--unix-socket", socket, &url];
    let output = host.run_any(&[starter, &words, more].concat()).unwrap();
    let (body, code) = output.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{}", output.stderr));
    (code.parse().unwrap(), body.to_owned())
}

/// One call by `curl`.
fn call(host: &Namespace, starter: &[&str], socket: &Path, call: &Value) -> Value {
    let (code, body) = curl(host, starter, socket, "/v1", &["--data", &call.to_string()]);
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
}

fn request(method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "id": 1 })
}

fn rpc(evening: &Evening, host: &Namespace, words: &[&str]) -> Output {
    evening.lanparty(host, &[&["rpc"], words].concat())
}

/// Everything that the program offers to whoever looks is as its document says, and the document is one that others could read.
fn is_as_described(evening: &Evening, host: &Namespace, name: &str, methods: &[&str]) {
    let answer = |method: &str| -> Value {
        let output = rpc(evening, host, &[method, "--program", name]).success().unwrap();
        serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output.stdout))
    };
    let mut document = answer("rpc.discover");
    assert_eq!((&document["openrpc"], &document["info"]["version"]), (&json!("1.3.2"), &json!("1.1.0")));
    let offered: Vec<String> =
        document["methods"].as_array().unwrap().iter().map(|method| method["name"].as_str().unwrap().to_owned()).collect();
    for method in methods {
        assert!(offered.iter().any(|offered| offered == method), "{name} offers {offered:?} and not {method}");
        let index = offered.iter().position(|offered| offered == method).unwrap();
        let mut schema = document.clone();
        close(&mut schema["components"]["schemas"]);
        schema["$ref"] = json!(format!("#/methods/{index}/result/schema"));
        let validator = jsonschema::validator_for(&schema).unwrap();
        let answer = answer(method);
        let problems: Vec<String> = validator.iter_errors(&answer).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{method} of {name}: {problems:#?}\n{answer:#}");
    }
    // What is not described is not there, either.
    document["methods"].as_array_mut().unwrap().retain(|method| method["name"] == "nonsense");
    assert_eq!(rpc(evening, host, &["nonsense", "--program", name]).status.code(), Some(2));
}

/// No object has more than what is described.
fn close(schemas: &mut Value) {
    for schema in schemas.as_object_mut().unwrap().values_mut() {
        if schema.get("properties").is_some() && schema.get("oneOf").is_none() && schema.get("anyOf").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
}

#[test]
fn each_program_answers_as_its_document_says() {
    if !ready() {
        return;
    }
    let evening = Evening::new("described");
    let _all = evening.all();
    let party = &evening.party;
    is_as_described(&evening, &party.relay, "relay", &["status", "members", "rooms", "counters", "log_level"]);
    is_as_described(&evening, &party.gateway, "gateway", &["status", "members", "paths", "counters", "filters"]);
    is_as_described(&evening, &party.home, "client-lan0", &["status", "members", "paths", "counters", "filters", "addresses"]);
    let _cable = cable(&evening, &party.home);
    is_as_described(&evening, &party.home, "cable-wire0", &["status", "paths", "counters", "filters"]);
    // Two programs run here now: which one is meant has to be said.
    let which = rpc(&evening, &party.home, &["status"]);
    assert_eq!(which.status.code(), Some(2));
    assert!(which.stderr.contains("--program, one of cable-wire0, client-lan0"), "{}", which.stderr);
}

/// One end of a cable whose other end is not there.
fn cable(evening: &Evening, host: &Namespace) -> Proc {
    let peer = "ab".repeat(32);
    let cable = evening.program(host, "lanparty").named("cable").args(["cable", "--tap-name", "wire0", "--peer", &peer]);
    let cable = host.spawn(cable).unwrap();
    cable.wait_for("listening on", SOON).unwrap();
    cable
}

#[test]
fn another_user_may_look_and_change_nothing() {
    if !ready() {
        return;
    }
    let evening = Evening::new("looking");
    let _relay = evening.relay();
    let _client = evening.client(&["--management-group", GROUP]);
    let home = &evening.party.home;
    let path = socket(&evening, home, "client-lan0.sock");
    let see = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    see(evening.party.lab.dir(), 0o711);
    see(&evening.dir(home), 0o711);
    let member = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--groups", GROUP];
    let outsider = ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"];
    // The group's member sees the same as the owner.
    let (seen, own) = (call(home, &member, &path, &request("status")), call(home, &[], &path, &request("status")));
    assert_eq!((&seen["result"]["room"], &seen["result"]["mac"]), (&own["result"]["room"], &own["result"]["mac"]));
    assert_eq!(seen["result"]["room"], ROOM);
    // It may not do anything, whichever way it asks.
    let ping = json!({ "jsonrpc": "2.0", "method": "ping", "params": ["gateway"], "id": 1 });
    assert_eq!(call(home, &member, &path, &ping)["error"]["code"], -32001);
    let batch = call(home, &member, &path, &json!([request("status"), ping, request("leave")]));
    let codes: Vec<_> = batch.as_array().unwrap().iter().map(|answer| answer["error"]["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!(-32001), json!(-32001)]);
    let (code, _) = curl(home, &member, &path, "/metrics", &[]);
    assert_eq!(code, 200);
    // Others do not even reach it.
    let (code, _) = {
        let socket = path.to_str().unwrap();
        let words =
            ["curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code}", "--unix-socket", socket, "http://localhost/metrics"];
        let output = home.run_any(&[&outsider[..], &words].concat()).unwrap();
        (output.status.code(), output.stderr)
    };
    assert_eq!(code, Some(7), "curl could not connect");
    // In words, as the tool says it.
    let runtime = format!("LANPARTY_RUNTIME_DIR={}", evening.dir(home).join("run").display());
    let tool = evening.path("lanparty");
    let as_member = |words: &[&str]| home.run_any(&[&member[..], &["env", &runtime, tool.to_str().unwrap()], words].concat()).unwrap();
    let shown = as_member(&["status"]).success().unwrap().stdout;
    assert!(shown.contains(&format!("room {ROOM}")), "{shown}");
    let refused = as_member(&["rpc", "ping", "[\"gateway\"]"]);
    assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("is for the user who runs this program, and for root"), "{}", refused.stderr);
}

#[test]
fn several_programs_live_side_by_side_and_one_that_was_killed_leaves_its_place() {
    if !ready() {
        return;
    }
    let evening = Evening::new("beside");
    let relay = evening.relay();
    let second = evening.program(&evening.party.relay, "lanparty-relay").named("second");
    let second = second.env("LANPARTY_STATE_DIR", evening.dir(&evening.party.relay).join("state2"));
    let second = evening.party.relay.spawn(second.args(["--open", "--listen", "0.0.0.0:9443", "--probe-ports", "off"])).unwrap();
    second.wait_for("lanparty-relay listening on", SOON).unwrap();
    let own = format!("relay-{}.sock", second.pid());
    eventually("both have a socket", || {
        let files = evening.runtime_files(&evening.party.relay);
        ["relay.sock", &own].iter().all(|name| files.iter().any(|file| file == name))
    });
    let listen = |name: &str| -> Value {
        let output = rpc(&evening, &evening.party.relay, &["status", "--program", name]).success().unwrap();
        serde_json::from_str::<Value>(&output.stdout).unwrap()["listen"].take()
    };
    assert_eq!(
        (listen("relay.sock".trim_end_matches(".sock")), listen(&second.pid().to_string())),
        (json!("0.0.0.0:8443"), json!("0.0.0.0:9443"))
    );
    relay.kill9();
    relay.exit_code(SOON).unwrap();
    let third = evening.relay();
    eventually("the third takes the place of the first", || listen("relay") == "0.0.0.0:8443");
    third.sigterm();
    assert_eq!(third.exit_code(SOON).unwrap(), 0);
    assert_eq!(evening.runtime_files(&evening.party.relay), [own]);
}

/// A listener that keeps what it hears.
fn listener(evening: &Evening, host: &Namespace, words: &[&str]) -> Proc {
    let listener = evening.program(host, "lanparty").named("events").arg("events").args(words);
    let listener = host.spawn(listener).unwrap();
    listener.wait_for("hello", SOON).unwrap();
    listener
}

#[test]
fn what_happens_is_told_to_everybody_who_listens() {
    if !ready() {
        return;
    }
    let evening = Evening::new("events");
    let relay = evening.relay();
    let party = &evening.party;
    let at_relay = listener(&evening, &party.relay, &["--json"]);
    let gateway = evening.gateway();
    // Two at the gateway: one of them by curl, whose texts each begin with a record separator (RFC 7464).
    let in_words = listener(&evening, &party.gateway, &[]);
    let path = socket(&evening, &party.gateway, "gateway-lan.sock");
    let url = ["curl", "--silent", "--no-buffer", "--unix-socket", path.to_str().unwrap(), "http://localhost/v1/events"];
    let by_curl = lanparty_lab::Program::new(url[0]).args(&url[1..]);
    let by_curl = party.gateway.spawn(by_curl).unwrap();
    by_curl.wait_for("\u{1e}{", SOON).unwrap();
    let client = evening.client(&[]);
    for listener in [&at_relay, &by_curl] {
        let line = listener.wait_for("member_joined", SOON).unwrap();
        let event: Value = serde_json::from_str(line.trim_start_matches('\u{1e}')).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(event["room"], ROOM);
    }
    let mac = evening.client_mac();
    in_words.wait_for(&format!("mac={mac} role=Client room={ROOM}"), SOON).unwrap();
    // Told by the one who leaves, and by those who stay.
    let own = listener(&evening, &party.home, &["--json"]);
    client.sigterm();
    own.wait_for("\"event\":\"ending\"", SOON).unwrap();
    assert_eq!(own.exit_code(SOON).unwrap(), 0);
    for listener in [&at_relay, &in_words, &by_curl] {
        listener.wait_for("member_left", SOON).unwrap();
    }
    assert_eq!(gateway.lines().iter().filter(|line| line.contains("does not read")).count(), 0);
    relay.kill9();
    in_words.wait_for(" left room=", SOON).unwrap();
    in_words.sigterm();
    assert_eq!(in_words.exit_code(SOON).unwrap(), 0);
    assert_eq!(at_relay.exit_code(SOON).unwrap(), 1, "the relay said no goodbye");
}

#[test]
fn a_line_is_added_carries_traffic_and_is_removed_again_while_the_client_runs() {
    if !Requirements::wires().and(&[Tool::Nft, Tool::Conntrack]).ready_or_skip() {
        return;
    }
    let lines = [LineOptions::new("dsl0", 30.0, 10.0), LineOptions::new("lte0", 20.0, 10.0)];
    let dual = Dual::build("added", &DualOptions::new(lines)).unwrap();
    let mut bonded = Bonded::join(&dual, &["dsl0"], &[]).unwrap();
    let alive = |bonded: &Bonded<'_>| -> Vec<String> {
        let status = bonded.client_status().unwrap();
        let paths = status["bond"]["paths"].as_array().cloned().unwrap_or_default();
        paths.iter().filter(|path| path["is_alive"] == true).map(|path| path["name"].as_str().unwrap().to_owned()).collect()
    };
    let passed_by = |bonded: &Bonded<'_>, name: &str| -> usize {
        let capture = dual.line(name).capture().unwrap();
        let [from, to] = bonded.ends(Way::Up);
        let second = Duration::from_secs(1);
        Bulk { flows: 2, warm_up: second / 2, window: second, ..Bulk::default() }.run(&from, &to).unwrap();
        capture.finish().unwrap().iter().map(|frame| frame.len).sum()
    };
    let uplink = |bonded: &Bonded<'_>, words: &[&str]| bonded.tool(&[&["uplink"], words, &["--program", "client"]].concat()).unwrap();
    let told = bonded.client.mark();
    // What makes no sense is refused, and says why.
    for (words, code, why) in [
        (["add", "nosuch0"], 2, "there is no interface nosuch0"),
        (["add", "lte0,speed=9"], 2, "none of role, cap, rate, cc"),
        (["add", "dsl0"], 4, "dsl0 is an uplink already"),
        (["add", "lte0,role=never"], 2, "would never be used"),
        (["remove", "dsl0"], 4, "dsl0 is the only uplink"),
        (["remove", "lte0"], 4, "lte0 is no uplink; there are dsl0"),
    ] {
        let output = uplink(&bonded, &words);
        assert!(output.status.code() == Some(code) && output.stderr.contains(why), "{words:?}: {}", output.stderr);
        assert!(!output.stderr.contains("lan0"), "the tunnel is no line: {}", output.stderr);
    }
    assert!(passed_by(&bonded, "lte0") < 100_000);
    uplink(&bonded, &["add", "lte0"]).success().unwrap();
    eventually("both carry", || alive(&bonded).len() == 2);
    bonded.client.wait_for_after(told, "lte0 joins the bond", SOON).unwrap();
    // On a busy machine a second may pass in which nothing does.
    let passed = (0..4).map(|_| passed_by(&bonded, "lte0")).find(|passed| *passed > 500_000);
    eprintln!("{passed:?} bytes by the added line");
    assert!(passed.is_some());
    uplink(&bonded, &["remove", "dsl0"]).success().unwrap();
    eventually("lte0 alone carries", || alive(&bonded) == ["lte0"]);
    assert!(passed_by(&bonded, "dsl0") < 100_000);
    // It holds for what comes after an outage, too.
    bonded.restart_relay().unwrap();
    eventually("lte0 carries again", || alive(&bonded) == ["lte0"]);
}

#[test]
fn a_client_is_told_what_to_log_and_to_leave() {
    if !ready() {
        return;
    }
    let evening = Evening::new("told");
    let relay = evening.relay();
    let client = evening.client(&[]);
    let home = &evening.party.home;
    let log_level = |words: &[&str]| evening.lanparty(home, &[&["log-level"], words].concat());
    assert_eq!(log_level(&[]).success().unwrap().stdout, "info\n");
    let wrong = log_level(&["inof"]);
    assert!(wrong.status.code() == Some(2) && wrong.stderr.starts_with("error: `inof` is none of off, error, warn"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("rpc.discover"), "the words say it: {}", wrong.stderr);
    let heard = listener(&evening, home, &[]);
    assert_eq!(log_level(&["debug"]).success().unwrap().stdout, "debug\n");
    assert_eq!(log_level(&[]).success().unwrap().stdout, "debug\n");
    heard.wait_for("log_level filter=debug", SOON).unwrap();
    log_level(&["off"]).success().unwrap();
    let quiet = client.mark();
    relay.kill9();
    relay.exit_code(SOON).unwrap();
    heard.wait_for(" left room=", SOON).unwrap();
    assert_eq!(client.mark(), quiet, "nothing is logged: {}", client.tail());
    log_level(&["info"]).success().unwrap();
    // A relay is not told to leave; a client is, whether its relay is there or not.
    let _relay = evening.relay();
    heard.wait_for("again=true", SOON).unwrap();
    let refused = evening.lanparty(&evening.party.relay, &["leave"]);
    assert!(refused.stderr.contains("no lanparty client or gateway or cable runs"), "{}", refused.stderr);
    assert_eq!(rpc(&evening, &evening.party.relay, &["leave"]).status.code(), Some(2), "no such method");
    let left = evening.lanparty(home, &["leave"]).success().unwrap();
    assert_eq!(left.stdout, "the client lan0 leaves and ends\n");
    assert_eq!(client.exit_code(SOON).unwrap(), 0, "{}", client.tail());
    client.wait_for("lanparty client ending: it was told to leave", SOON).unwrap();
    heard.wait_for("ending reason=\"it was told to leave\"", SOON).unwrap();
    assert!(home.ip("link show dev lan0").is_err(), "the interface is gone");
    assert_eq!(evening.runtime_files(home), [""; 0]);
    // By curl: a notification has no answer and is done all the same.
    let client = evening.client(&[]);
    let path = socket(&evening, home, "client-lan0.sock");
    let (code, body) = curl(home, &[], &path, "/v1", &["--data", r#"{"jsonrpc":"2.0","method":"leave"}"#]);
    assert_eq!((code, body.as_str()), (204, ""));
    assert_eq!(client.exit_code(SOON).unwrap(), 0);
}

/// What is scraped, held against the rules of OpenMetrics that Prometheus insists on.
fn scraped(text: &str) -> Scrape {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let kind = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(name.starts_with("lanparty_"), "{line}");
        let expected = if name.ends_with("_total") { "counter" } else { "gauge" };
        assert_eq!(kind(name.trim_end_matches("_total")), Some(expected), "{line}");
    }
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let told: Vec<_> = scrape.samples.iter().map(|sample| (&sample.metric, &sample.labels)).collect();
    let again = told.iter().enumerate().find(|(n, sample)| told.iter().take(*n).any(|other| other == *sample));
    assert!(again.is_none(), "told twice: {again:?}");
    scrape
}

/// The sum of all samples of that name with these labels.
fn sum(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let is_meant = |sample: &&prometheus_parse::Sample| {
        sample.metric == name && labels.iter().all(|(key, value)| sample.labels.get(key) == Some(value))
    };
    let value = |sample: &prometheus_parse::Sample| match sample.value {
        Number::Counter(value) | Number::Gauge(value) | Number::Untyped(value) => value,
        _ => panic!("{sample:?}"),
    };
    scrape.samples.iter().filter(is_meant).map(value).sum()
}

#[test]
fn numbers_for_a_graph_are_prometheus_own_and_agree_with_the_counters() {
    if !ready() {
        return;
    }
    let evening = Evening::new("metrics");
    let relay = evening.relay_with(&["--listen", "0.0.0.0:8443", "--metrics", "9464"]);
    let _gateway = evening.gateway();
    let (client, _) = evening.client_with_lease();
    let party = &evening.party;
    let by_socket = |host: &Namespace, name: &str| -> Scrape {
        let (code, text) = curl(host, &[], &socket(&evening, host, name), "/metrics", &[]);
        assert_eq!(code, 200);
        scraped(&text)
    };
    let frames = |scrape: &Scrape| sum(scrape, "lanparty_frames_total", &[("direction", "outbound")]);
    let at_client = by_socket(&party.home, "client-lan0.sock");
    assert_eq!(sum(&at_client, "lanparty_joined", &[("room", ROOM)]), 1.0);
    assert_eq!(sum(&at_client, "lanparty_members", &[("room", ROOM)]), 1.0);
    let counters: Value = serde_json::from_str(&rpc(&evening, &party.home, &["counters"]).success().unwrap().stdout).unwrap();
    assert!(frames(&at_client) <= counters["outbound"]["frames_in"].as_f64().unwrap());
    let after = by_socket(&party.home, "client-lan0.sock");
    assert!(frames(&after) >= counters["outbound"]["frames_in"].as_f64().unwrap() && frames(&after) > 0.0);
    by_socket(&party.gateway, "gateway-lan.sock");
    // Over TCP: this machine's own, and nothing but numbers.
    let tcp = |host: &Namespace, path: &str| {
        host.run_any(&["curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code}", &format!("http://127.0.0.1:9464{path}")])
            .unwrap()
    };
    let (text, code) =
        tcp(&party.relay, "/metrics").stdout.rsplit_once('\n').map(|(text, code)| (text.to_owned(), code.to_owned())).unwrap();
    assert_eq!(code, "200");
    let at_relay = scraped(&text);
    assert_eq!(sum(&at_relay, "lanparty_members", &[("room", ROOM)]), 2.0);
    assert!(tcp(&party.relay, "/v1").stdout.ends_with("404"), "no calls over TCP");
    let from_outside = party.home.run_any(&["curl", "--silent", "--max-time", "5", "http://10.99.0.1:9464/metrics"]).unwrap();
    assert_eq!(from_outside.status.code(), Some(7), "it listens on the loopback address alone");
    // What a member brought is counted when that one has left, too.
    let brought = |scrape: &Scrape| sum(scrape, "lanparty_frames_total", &[("direction", "from_members")]);
    // And so is what was for it, whether it got it or not.
    let copies = |scrape: &Scrape| sum(scrape, "lanparty_copies_sent", &[]) + sum(scrape, "lanparty_copies_dropped_total", &[]);
    client.sigterm();
    client.exit_code(SOON).unwrap();
    eventually("the relay knows", || sum(&by_socket(&party.relay, "relay.sock"), "lanparty_members", &[]) == 1.0);
    let afterwards = by_socket(&party.relay, "relay.sock");
    assert!(brought(&afterwards) >= brought(&at_relay) && brought(&at_relay) > 0.0);
    assert!(copies(&afterwards) >= copies(&at_relay) && copies(&at_relay) > 0.0);
    // A port that somebody has is said at once.
    relay.sigterm();
    relay.exit_code(SOON).unwrap();
    let taken = party.relay.enter(|| std::net::TcpListener::bind("127.0.0.1:9464").unwrap()).unwrap();
    let refused = evening.program(&party.relay, "lanparty-relay").args(["--open", "--metrics", "127.0.0.1:9464"]);
    let refused = party.relay.spawn(refused).unwrap();
    assert_eq!(refused.exit_code(SOON).unwrap(), 2);
    refused.wait_for("choose another port with --metrics", SOON).unwrap();
    drop(taken);
}
