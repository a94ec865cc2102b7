//! The server as its askers see it: a program that answers one thing or another, on a socket in a directory of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::server::{CONNECTIONS_MAX, Desk, serve};
use super::*;
use crate::local::{LocalListener, connect};

#[derive(Serialize, JsonSchema)]
struct Status {
    program: &'static str,
    lines: Vec<String>,
}

fn api() -> Api {
    Api::of::<Status>("test").offering::<Value>(Topic::Ping).offering::<Value>(Topic::Members)
}

/// A program that answers what it is asked.
struct Program {
    _dir: tempfile::TempDir,
    path: PathBuf,
    events: Events,
}

fn program() -> Program {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client-a.sock");
    let listener = LocalListener::bind(&path, None).unwrap();
    let (questions, mut asked) = mpsc::channel(4);
    let events = Events::default();
    tokio::spawn(serve(listener, Arc::new(Desk::new(api(), events.clone(), questions))));
    tokio::spawn(async move {
        while let Some(request) = asked.recv().await {
            match request.ask() {
                Ask::Status => request.send(Status { program: "test", lines: vec![] }),
                Ask::Ping(_) => {
                    let answers = request.answers();
                    answers.give(json!({ "event": "start" }));
                    answers.give(json!({ "event": "reply" }));
                    answers.give(json!({ "event": "done", "answered": 1 }));
                }
                Ask::Metrics => request.send_text(|| Numbers::of("test").into_text()),
                _ => request.refuse_with("no-such-room", "there is no such room"),
            }
        }
    });
    Program { _dir: dir, path, events }
}

fn ping() -> Ask {
    Ask::Ping(PingAsk { member: "2".into(), count: 1, interval_ms: 10, size: 60, sweep: false })
}

/// What comes back for these bytes, until the program closes.
async fn raw(path: &Path, bytes: &[u8]) -> String {
    let (mut stream, authorization) = connect(path).await.unwrap();
    let text = String::from_utf8_lossy(bytes).replace(
        "\r\n\r\n",
        &match authorization {
            Some(authorization) => format!("\r\nAuthorization: {authorization}\r\n\r\n"),
            None => "\r\n\r\n".to_owned(),
        },
    );
    // What is refused early is not read to its end.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = vec![];
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Status line and body of the answer to a POST.
async fn post(path: &Path, body: &str) -> (String, String) {
    let request = format!("POST /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = raw(path, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

async fn rpc(path: &Path, body: Value) -> Value {
    serde_json::from_str(&post(path, &body.to_string()).await.1).unwrap()
}

#[tokio::test]
async fn a_call_has_its_answer_and_a_notification_has_none() {
    let program = program();
    let answer = rpc(&program.path, json!({ "jsonrpc": "2.0", "method": "status", "id": "a" })).await;
    assert_eq!(answer, json!({ "jsonrpc": "2.0", "result": { "program": "test", "lines": [] }, "id": "a" }));
    let (line, body) = post(&program.path, r#"{"jsonrpc":"2.0","method":"status"}"#).await;
    assert_eq!((line.as_str(), body.as_str()), ("HTTP/1.1 204 No Content", ""));
    let (line, _) = post(&program.path, r#"[{"jsonrpc":"2.0","method":"status"},{"jsonrpc":"2.0","method":"nonsense"}]"#).await;
    assert_eq!(line, "HTTP/1.1 204 No Content");
}

#[tokio::test]
async fn what_goes_wrong_has_the_code_of_the_specification() {
    let program = program();
    let code = async |call: Value| rpc(&program.path, call).await["error"]["code"].as_i64().unwrap();
    assert_eq!(code(json!({ "jsonrpc": "2.0", "method": "sing", "id": 1 })).await, -32601);
    assert_eq!(code(json!({ "jsonrpc": "2.0", "method": "rooms", "id": 1 })).await, -32601, "a method that this program does not offer");
    assert_eq!(code(json!({ "jsonrpc": "2.0", "method": "status", "params": { "x": 1 }, "id": 1 })).await, -32602);
    assert_eq!(code(json!({ "jsonrpc": "2.0", "method": "ping", "params": { "member": "2", "count": 0 }, "id": 1 })).await, -32602);
    assert_eq!(code(json!([])).await, -32600);
    let refused = rpc(&program.path, json!({ "jsonrpc": "2.0", "method": "members", "id": 1 })).await;
    assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["error"]), (&json!(-32000), &json!("no-such-room")));
    let broken: Value = serde_json::from_str(&post(&program.path, "{").await.1).unwrap();
    assert_eq!((&broken["error"]["code"], &broken["id"]), (&json!(-32700), &Value::Null));
}

#[tokio::test]
async fn a_batch_has_an_answer_for_each_call_that_waits_for_one() {
    let program = program();
    let call = |method: &str, id: Option<u32>| match id {
        Some(id) => json!({ "jsonrpc": "2.0", "method": method, "id": id }),
        None => json!({ "jsonrpc": "2.0", "method": method }),
    };
    let answers = rpc(&program.path, json!([call("status", Some(1)), 7, call("status", None), call("sing", Some(2))])).await;
    let seen: Vec<_> = answers.as_array().unwrap().iter().map(|answer| (answer["id"].clone(), answer["error"]["code"].clone())).collect();
    assert_eq!(seen, [(json!(1), Value::Null), (Value::Null, json!(-32600)), (json!(2), json!(-32601))]);
}

#[tokio::test]
async fn who_takes_a_sequence_hears_how_a_ping_goes_on() {
    let program = program();
    let mut talk = Conversation::open(&program.path, &ping()).await.unwrap();
    let mut heard = vec![];
    while let Some(answer) = talk.next().await.unwrap() {
        heard.push(answer["event"].clone());
    }
    assert_eq!(heard, ["start", "reply", "done"]);
    let last = rpc(&program.path, json!({ "jsonrpc": "2.0", "method": "ping", "params": ["2"], "id": 1 })).await;
    assert_eq!(last["result"], json!({ "event": "done", "answered": 1 }));
    let mut refused = Conversation::open(&program.path, &Ask::Members(MembersAsk::default())).await.unwrap();
    assert_eq!(refused.next().await.unwrap().unwrap()["error"], "no-such-room");
    assert_eq!(refused.next().await.unwrap(), None);
    let mut refused = Conversation::open(&program.path, &Ask::Rooms).await.unwrap();
    assert_eq!(refused.next().await.unwrap().unwrap()["error"], "unknown-request");
}

#[tokio::test]
async fn addresses_and_bodies_are_what_http_says_of_them() {
    let program = program();
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404 Not Found"),
        ("GET /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405 Method Not Allowed"),
        ("DELETE /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405 Method Not Allowed"),
        ("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200 OK"),
        ("nonsense\r\n\r\n", "400 Bad Request"),
    ] {
        let answer = raw(&program.path, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    let (line, _) = post(&program.path, &" ".repeat(100_000)).await;
    assert!(line.contains("413"), "{line}");
}

#[tokio::test]
async fn events_are_a_sequence_that_begins_with_who_tells() {
    let program = program();
    let mut texts = listen(&program.path).await.unwrap();
    assert_eq!(texts.next().await.unwrap().unwrap()["program"], "test");
    program.events.tell(Event::Left { room: "ROOM1".into() });
    let event = texts.next().await.unwrap().unwrap();
    assert_eq!((&event["event"], &event["room"]), (&json!("left"), &json!("ROOM1")));
    drop(texts);
    tokio::time::timeout(Duration::from_secs(5), async {
        while program.events.is_heard() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("who has gone is noticed");
}

#[tokio::test]
async fn askers_beyond_the_limit_wait_until_the_silent_ones_are_let_go() {
    let program = program();
    let mut silent = vec![];
    for _ in 0..CONNECTIONS_MAX {
        silent.push(connect(&program.path).await.unwrap());
    }
    let answer =
        tokio::time::timeout(Duration::from_secs(20), rpc(&program.path, json!({ "jsonrpc": "2.0", "method": "status", "id": 1 })));
    assert_eq!(answer.await.unwrap()["result"]["program"], "test");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_has_stopped_is_waited_for_no_longer_than_its_answer_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("client-lan0.sock");
    let _stopped = LocalListener::bind(&path, None).unwrap();
    for (ask, patience) in [(Ask::Status, 2), (Ask::ExamineRoom, 4), (ping(), 2)] {
        let asked = tokio::time::Instant::now();
        let error = Conversation::open(&path, &ask).await.err().unwrap();
        assert_eq!((error.kind(), asked.elapsed().as_secs()), (std::io::ErrorKind::TimedOut, patience), "{ask:?}");
    }
    assert_eq!(program_at(&path), "the client lan0");
}

#[tokio::test]
async fn the_document_describes_what_is_answered() {
    let program = program();
    let document = rpc(&program.path, json!({ "jsonrpc": "2.0", "method": "rpc.discover", "id": 1 })).await["result"].take();
    let names: Vec<_> = document["methods"].as_array().unwrap().iter().map(|method| method["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["rpc.discover", "status", "log_level", "set_log_level", "ping", "members"]);
    let mut schema = document.clone();
    schema["$ref"] = json!("#/methods/1/result/schema");
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&json!({ "program": "test", "lines": [] })));
    assert!(!validator.is_valid(&json!({ "program": "test" })), "and it says something");
}
