//! `lanparty rpc`: calls one method of a running program, for scripts.

use clap::Args;
use lanparty_node::{ExitCode, Fault, call, print};
use serde_json::Value;

use crate::program::{ProgramFlag, unanswered};

#[derive(Args)]
#[command(after_help = "\
Examples:
  lanparty rpc status
  lanparty rpc members '{\"room\": \"ROOM1\"}' --program relay
  lanparty rpc rpc.discover        every method, what it takes and what it answers (OpenRPC)

Exit codes: 0 ok, 2 there is no such method or its parameters are wrong or say nothing usable, 3 not allowed, 4 the program refuses, 1 anything else.")]
pub(crate) struct RpcArgs {
    /// The method
    method: String,

    /// Its parameters, as a JSON object or array
    #[arg(value_name = "PARAMS", value_parser = parse_params)]
    params: Option<Value>,

    #[command(flatten)]
    program: ProgramFlag,
}

pub(crate) async fn run(args: RpcArgs) -> Result<(), Fault> {
    let socket = args.program.socket(&[])?;
    let mut response = call(&socket, &args.method, args.params.as_ref()).await.map_err(|e| unanswered(&socket, &e))?;
    if let Some(error) = response.get("error") {
        return Err(refused(error));
    }
    print(&format!("{:#}\n", response["result"].take()))
}

/// Why a program says no to what is none, and would be to any other program as well.
const UNUSABLE: [&str; 2] = ["unusable-route", "unusable-uplink"];

/// The same for who typed words and no parameters.
pub(crate) fn refused_words(error: &Value) -> Fault {
    let fault = refused(error);
    match fault.cause.strip_prefix("invalid params: ") {
        Some(cause) => Fault::new(fault.code, cause, ""),
        None => fault,
    }
}

/// What a program that says no means for who asked.
pub(crate) fn refused(error: &Value) -> Fault {
    let message = error["message"].as_str().unwrap_or("the program refuses that").to_owned();
    let (code, advice) = match error["code"].as_i64() {
        Some(-32601) => (ExitCode::Configuration, "`lanparty rpc rpc.discover` lists the methods"),
        Some(-32602) => (ExitCode::Configuration, "`lanparty rpc rpc.discover` says what it takes"),
        Some(-32001) => (ExitCode::Permission, "ask as that user, or as root"),
        Some(-32000) if UNUSABLE.map(Value::from).contains(&error["data"]["error"]) => (ExitCode::Configuration, ""),
        Some(-32000) => (ExitCode::Refused, ""),
        _ => (ExitCode::Unexpected, ""),
    };
    Fault::new(code, message, advice)
}

fn parse_params(text: &str) -> Result<Value, String> {
    let params: Value = serde_json::from_str(text).map_err(|e| format!("this is no JSON: {e}"))?;
    if params.is_object() || params.is_array() { Ok(params) } else { Err("it is an object or an array".to_owned()) }
}
