//! The envelope of JSON-RPC 2.0 (<https://www.jsonrpc.org/specification>): what a body asks, and what its answer looks like.

use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Calls in one batch: many times what any script needs.
const BATCH_MAX: usize = 64;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RpcError {
    code: i32,
    message: String,
    data: Option<Value>,
}

impl RpcError {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn parse(why: &str) -> Self {
        Self::new(-32700, format!("this is no JSON: {why}"))
    }

    pub(super) fn invalid_request(why: &str) -> Self {
        Self::new(-32600, format!("this is no JSON-RPC 2.0 request: {why}"))
    }

    pub(super) fn no_such_method(method: &str) -> Self {
        Self::new(-32601, format!("there is no method `{method}` here; `rpc.discover` lists those that there are"))
    }

    pub(super) fn invalid_params(why: &str) -> Self {
        Self::new(-32602, format!("invalid params: {why}"))
    }

    pub(super) fn internal(why: &str) -> Self {
        Self::new(-32603, why)
    }

    /// The program says no: `answer` has a name for why in `error`, and words in `message`.
    pub(super) fn refused(answer: Value) -> Self {
        let message = answer["message"].as_str().unwrap_or("the program refuses that").to_owned();
        Self { code: -32000, message, data: Some(answer) }
    }

    pub(super) fn not_the_owner(method: &str) -> Self {
        Self::new(-32001, format!("`{method}` is for the user who runs this program, and for root"))
    }

    fn to_json(&self) -> Value {
        match &self.data {
            None => json!({ "code": self.code, "message": self.message }),
            Some(data) => json!({ "code": self.code, "message": self.message, "data": data }),
        }
    }
}

/// One call.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Option<Value>,
    /// Nothing is a notification: nobody waits for an answer.
    pub(super) id: Option<Value>,
}

/// What a body asks.
#[derive(Debug, PartialEq)]
pub(super) enum Body {
    One(Result<Call, RpcError>),
    Batch(Vec<Result<Call, RpcError>>),
}

impl Body {
    pub(super) fn read(bytes: &[u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Err(e) => Self::One(Err(RpcError::parse(&e.to_string()))),
            Ok(Value::Array(calls)) if calls.is_empty() => Self::One(Err(RpcError::invalid_request("the batch is empty"))),
            Ok(Value::Array(calls)) if calls.len() > BATCH_MAX => {
                Self::One(Err(RpcError::invalid_request(&format!("{} calls in a batch are more than {BATCH_MAX}", calls.len()))))
            }
            Ok(Value::Array(calls)) => Self::Batch(calls.into_iter().map(Call::read).collect()),
            Ok(call) => Self::One(Call::read(call)),
        }
    }
}

impl Call {
    fn read(call: Value) -> Result<Self, RpcError> {
        let wrong = |why| Err(RpcError::invalid_request(why));
        let Value::Object(mut call) = call else { return wrong("a call is an object") };
        if call.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return wrong("`jsonrpc` is \"2.0\"");
        }
        let Some(Value::String(method)) = call.remove("method") else { return wrong("`method` is the name of one") };
        let params = call.remove("params");
        if !matches!(params, None | Some(Value::Array(_) | Value::Object(_))) {
            return wrong("`params` are an object or an array");
        }
        let id = call.remove("id");
        if !matches!(id, None | Some(Value::Null | Value::String(_) | Value::Number(_))) {
            return wrong("`id` is a text, a number or null");
        }
        Ok(Self { method, params, id })
    }
}

/// The answer to the call of this number. `result` is JSON already.
pub(super) fn response(id: &Value, outcome: &Result<Box<RawValue>, RpcError>) -> String {
    match outcome {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","result":{result},"id":{id}}}"#),
        Err(error) => json!({ "jsonrpc": "2.0", "error": error.to_json(), "id": id }).to_string(),
    }
}

/// What a call says on its way to its answer.
pub(super) fn progress(method: &str, value: &Value) -> String {
    json!({ "jsonrpc": "2.0", "method": format!("{method}.progress"), "params": value }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(body: &str) -> i32 {
        match Body::read(body.as_bytes()) {
            Body::One(Err(error)) => error.code,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn what_is_no_request_is_told_by_its_code() {
        for broken in ["", "{", "[1,", "{\"jsonrpc\": \"2.0\", \"method\": \"foobar, \"params\": \"bar\", \"baz]", "\u{1}"] {
            assert_eq!(code(broken), -32700, "{broken}");
        }
        // Examples of the specification's chapter 7 among them.
        for wrong in [
            "[]",
            "1",
            "null",
            r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
            r#"{"jsonrpc": "2.0", "method": "status", "params": "bar"}"#,
            r#"{"method": "status", "id": 1}"#,
            r#"{"jsonrpc": "1.0", "method": "status", "id": 1}"#,
            r#"{"jsonrpc": "2.0", "method": "status", "id": {}}"#,
            r#"{"jsonrpc": "2.0", "id": 1}"#,
        ] {
            assert_eq!(code(wrong), -32600, "{wrong}");
        }
        let many = format!("[{}]", vec!["1"; BATCH_MAX + 1].join(","));
        assert_eq!(code(&many), -32600);
        assert_eq!(code(&"[".repeat(100_000)), -32700, "and nothing overflows");
    }

    #[test]
    fn a_call_without_a_number_is_a_notification() {
        let read = |body: &str| match Body::read(body.as_bytes()) {
            Body::One(Ok(call)) => call,
            other => panic!("{other:?}"),
        };
        assert_eq!(read(r#"{"jsonrpc":"2.0","method":"status"}"#).id, None);
        assert_eq!(read(r#"{"jsonrpc":"2.0","method":"status","id":null}"#).id, Some(Value::Null));
        assert_eq!(read(r#"{"jsonrpc":"2.0","method":"status","id":"x","params":[]}"#).params, Some(json!([])));
    }

    #[test]
    fn each_call_of_a_batch_is_judged_by_itself() {
        let Body::Batch(calls) = Body::read(br#"[1, {"jsonrpc":"2.0","method":"status","id":2}]"#) else { panic!() };
        assert!(matches!(&calls[..], [Err(_), Ok(call)] if call.id == Some(json!(2))), "{calls:?}");
    }

    #[test]
    fn answers_have_the_number_of_their_call() {
        let result = serde_json::value::to_raw_value(&json!([1])).unwrap();
        assert_eq!(response(&json!("a\"b"), &Ok(result)), r#"{"jsonrpc":"2.0","result":[1],"id":"a\"b"}"#);
        let refused = RpcError::refused(json!({ "error": "no-bond", "message": "no bond here" }));
        let said: Value = serde_json::from_str(&response(&Value::Null, &Err(refused))).unwrap();
        assert_eq!(
            said["error"],
            json!({ "code": -32000, "message": "no bond here", "data": { "error": "no-bond", "message": "no bond here" } })
        );
    }
}
