//! The methods that there are, which of them a program offers, and the document that describes them (OpenRPC 1.3).

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::ask::{AddUplinkAsk, Ask, BondTestAsk, LogLevelAsk, MembersAsk, PingAsk, RemoveUplinkAsk, RouteAsk};
use super::envelope::RpcError;
use super::events::Record;

/// Version of the methods and of what they answer. The first number changes when something is taken away or means something else.
pub const API_VERSION: &str = "1.1.0";

/// Who may call a method.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Access {
    /// Whoever reaches the socket.
    Look,
    /// The user who runs the program, and root.
    Change,
}

/// A method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "their summaries say what they are")]
pub enum Topic {
    Discover,
    Status,
    Members,
    Paths,
    Counters,
    Rooms,
    Filters,
    Addresses,
    Routes,
    AddRoute,
    RemoveRoute,
    ExamineRoom,
    Ping,
    TestBond,
    AddUplink,
    RemoveUplink,
    LogLevel,
    SetLogLevel,
    Leave,
}

/// What a method is called, and what it takes.
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    /// Parameters in the order in which an array names them.
    pub(super) params: &'static [&'static str],
    /// Whether it tells how it goes on, to who takes `application/json-seq`.
    pub(super) has_progress: bool,
}

impl Topic {
    const ALL: [Self; 19] = [
        Self::Discover,
        Self::Status,
        Self::Members,
        Self::Paths,
        Self::Counters,
        Self::Rooms,
        Self::Filters,
        Self::Addresses,
        Self::Routes,
        Self::AddRoute,
        Self::RemoveRoute,
        Self::ExamineRoom,
        Self::Ping,
        Self::TestBond,
        Self::AddUplink,
        Self::RemoveUplink,
        Self::LogLevel,
        Self::SetLogLevel,
        Self::Leave,
    ];

    /// The method of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.signature().name == name)
    }

    pub(super) fn signature(self) -> Signature {
        let change = |name, summary, params| Signature { name, summary, access: Access::Change, params, has_progress: false };
        let look = |name, summary| Signature { name, summary, access: Access::Look, params: &[], has_progress: false };
        match self {
            Self::Discover => look("rpc.discover", "This document"),
            Self::Status => look("status", "How the program is: everything that `lanparty status --json` shows"),
            Self::Members => Signature { params: &["room"], ..look("members", "Who is in the room; at a relay in all rooms, or in one") },
            Self::Paths => look("paths", "By which ways the relay and the other members are reached"),
            Self::Counters => look("counters", "What became of every frame: in + split = forwarded + answered + dropped + queued"),
            Self::Rooms => look("rooms", "The rooms of this relay, without their members"),
            Self::Filters => look("filters", "What each rule of the traffic filter decided; null without a filter"),
            Self::Addresses => look("addresses", "The addresses of the interface, and where each came from"),
            Self::Routes => look("routes", "Networks that are reached through members"),
            Self::AddRoute => Signature {
                access: Access::Change,
                params: &["network", "via"],
                ..look("add_route", "Reach a network through a member, until the program ends")
            },
            Self::RemoveRoute => {
                Signature { access: Access::Change, params: &["network", "via"], ..look("remove_route", "Reach that network so no more") }
            }
            Self::ExamineRoom => {
                Signature { access: Access::Change, ..look("examine_room", "What is known of the room, for `lanparty doctor`") }
            }
            Self::Ping => Signature {
                access: Access::Change,
                params: &["member", "count", "interval_ms", "size", "sweep"],
                has_progress: true,
                ..look("ping", "Send echo requests to a member of the room")
            },
            Self::TestBond => Signature {
                access: Access::Change,
                params: &["yes"],
                has_progress: true,
                ..look("test_bond", "Measure each line of the bond alone and all together: fills them for half a minute or more")
            },
            Self::AddUplink => change("add_uplink", "Use one more uplink from now on, until the program ends", &["uplink"]),
            Self::RemoveUplink => change("remove_uplink", "Use an uplink no more", &["interface"]),
            Self::LogLevel => look("log_level", "What is logged: a level, or directives"),
            Self::SetLogLevel => change("set_log_level", "Log this from now on, until the program ends", &["level"]),
            Self::Leave => change("leave", "Leave the room, or pull the cable out, and end the program", &[]),
        }
    }

    /// What the method takes, when that is something.
    fn params_schema(self, generator: &mut SchemaGenerator) -> Option<Schema> {
        match self {
            Self::Members => Some(MembersAsk::json_schema(generator)),
            Self::AddRoute | Self::RemoveRoute => Some(RouteAsk::json_schema(generator)),
            Self::Ping => Some(PingAsk::json_schema(generator)),
            Self::TestBond => Some(BondTestAsk::json_schema(generator)),
            Self::AddUplink => Some(AddUplinkAsk::json_schema(generator)),
            Self::RemoveUplink => Some(RemoveUplinkAsk::json_schema(generator)),
            Self::SetLogLevel => Some(LogLevelAsk::json_schema(generator)),
            _ => None,
        }
    }

    /// What a call of it asks of its program.
    ///
    /// # Errors
    /// When its parameters are wrong.
    pub(super) fn ask(self, params: Option<Value>) -> Result<Ask, RpcError> {
        let params = named(params, self.signature().params).map_err(|why| RpcError::invalid_params(&why))?;
        Ok(match self {
            Self::Discover | Self::Status => Ask::Status,
            Self::Members => Ask::Members(read(params)?),
            Self::Paths => Ask::Paths,
            Self::Counters => Ask::Counters,
            Self::Rooms => Ask::Rooms,
            Self::Filters => Ask::Filters,
            Self::Addresses => Ask::Addresses,
            Self::Routes => Ask::Routes,
            Self::AddRoute => Ask::AddRoute(read(params)?),
            Self::RemoveRoute => Ask::RemoveRoute(read(params)?),
            Self::ExamineRoom => Ask::ExamineRoom,
            Self::Ping => Ask::Ping(read::<PingAsk>(params)?.check().map_err(|why| RpcError::invalid_params(&why))?),
            Self::TestBond => Ask::TestBond(read(params)?),
            Self::AddUplink => Ask::AddUplink(read(params)?),
            Self::RemoveUplink => Ask::RemoveUplink(read(params)?),
            Self::LogLevel => Ask::LogLevel,
            Self::SetLogLevel => Ask::SetLogLevel(read(params)?),
            Self::Leave => Ask::Leave,
        })
    }
}

/// Parameters by name, which may have been given in their order.
fn named(params: Option<Value>, names: &[&str]) -> Result<Map<String, Value>, String> {
    match params {
        None => Ok(Map::new()),
        Some(Value::Array(values)) if values.len() > names.len() => {
            Err(format!("{} are given, and it takes {}", values.len(), names.len()))
        }
        Some(Value::Array(values)) => Ok(names.iter().map(|name| (*name).to_owned()).zip(values).collect()),
        Some(Value::Object(params)) => match params.keys().find(|key| !names.contains(&key.as_str())) {
            Some(unknown) if names.is_empty() => Err(format!("`{unknown}` is given, and it takes none")),
            Some(unknown) => Err(format!("`{unknown}` is none of {}", names.join(", "))),
            None => Ok(params),
        },
        Some(_) => Err("they are an object or an array".to_owned()),
    }
}

fn read<T: DeserializeOwned>(params: Map<String, Value>) -> Result<T, RpcError> {
    serde_path_to_error::deserialize(Value::Object(params)).map_err(|e| {
        let (at, why) = (e.path().to_string(), e.inner());
        // One that is missing is named by its own words.
        RpcError::invalid_params(&if at == "." { why.to_string() } else { format!("`{at}`: {why}") })
    })
}

/// Makes the schema of what a method answers.
type ResultSchema = fn(&mut SchemaGenerator) -> Schema;

/// What a program offers.
#[derive(Clone)]
pub struct Api {
    program: &'static str,
    offers: Vec<(Topic, ResultSchema)>,
}

impl Api {
    /// A program that says how it is, with a `Status`.
    #[must_use]
    pub fn of<Status: JsonSchema>(program: &'static str) -> Self {
        let api = Self { program, offers: vec![] };
        api.offering::<Value>(Topic::Discover)
            .offering::<Status>(Topic::Status)
            .offering::<String>(Topic::LogLevel)
            .offering::<String>(Topic::SetLogLevel)
    }

    /// It answers this method with a `T` as well.
    #[must_use]
    pub fn offering<T: JsonSchema>(mut self, topic: Topic) -> Self {
        self.offers.push((topic, |generator| generator.subschema_for::<T>()));
        self
    }

    pub(super) const fn program(&self) -> &'static str {
        self.program
    }

    /// Whether it answers this.
    pub(super) fn offers(&self, topic: Topic) -> bool {
        self.offers.iter().any(|(offered, _)| *offered == topic)
    }

    /// The OpenRPC document.
    #[must_use]
    pub fn document(&self) -> Value {
        let settings = SchemaSettings::draft07().for_serialize().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        let mut generator = settings.into_generator();
        let methods: Vec<Value> =
            self.offers.iter().map(|(topic, result)| method(*topic, &result(&mut generator), &mut generator)).collect();
        let record = generator.subschema_for::<Record>();
        json!({
            "openrpc": "1.3.2",
            "info": {
                "title": self.program, "version": API_VERSION,
                "description": "JSON-RPC 2.0 by POST /v1; events as a JSON text sequence (RFC 7464) by GET /v1/events; numbers by GET /metrics",
            },
            "methods": methods,
            "x-events": { "path": "/v1/events", "content-type": super::http::JSON_SEQUENCE, "schema": record },
            "components": { "schemas": generator.take_definitions(true) },
        })
    }
}

fn method(topic: Topic, result: &Schema, generator: &mut SchemaGenerator) -> Value {
    let signature = topic.signature();
    let schema = topic.params_schema(generator).map(Value::from).unwrap_or_default();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let params = signature
        .params
        .iter()
        .map(|name| json!({ "name": name, "required": required.contains(name), "schema": schema["properties"][*name] }));
    let mut described = json!({
        "name": signature.name, "summary": signature.summary, "paramStructure": "either", "params": params.collect::<Vec<_>>(),
        "result": { "name": "result", "schema": result },
        "x-access": if signature.access == Access::Change { "owner" } else { "group" },
    });
    if signature.has_progress {
        described["x-progress"] =
            json!(format!("with Accept: {}, as {}.progress before the answer", super::http::JSON_SEQUENCE, signature.name));
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_by_name_or_in_their_order() {
        let by_name = Topic::Ping.ask(Some(json!({ "member": "2", "count": 7 }))).unwrap();
        assert_eq!(by_name, Topic::Ping.ask(Some(json!(["2", 7]))).unwrap());
        assert_eq!(by_name, Topic::Ping.ask(Some(json!({ "member": 2, "count": 7 }))).unwrap(), "a number is one with and without quotes");
        let route = |via: Value| Topic::AddRoute.ask(Some(json!({ "network": "10.0.0.0/8", "via": via })));
        assert_eq!(route(json!(2)), route(json!("2")));
        assert_eq!(Topic::Status.ask(None), Ok(Ask::Status));
        assert_eq!(Topic::Status.ask(Some(json!({}))), Topic::Status.ask(Some(json!([]))));
        assert_eq!(Topic::Members.ask(None), Ok(Ask::Members(MembersAsk { room: None })));
    }

    #[test]
    fn wrong_parameters_are_named() {
        for (topic, params, word) in [
            (Topic::Status, json!({ "x": 1 }), "`x` is given, and it takes none"),
            (Topic::Status, json!([1]), "1 are given, and it takes 0"),
            (Topic::Ping, json!({ "membr": "2" }), "`membr` is none of member, count"),
            (Topic::Ping, json!({}), "missing field `member`"),
            (Topic::Ping, json!({ "member": true }), "`member`: a peer number, a MAC address, or `gateway` stands here"),
            (Topic::Ping, json!({ "member": -1 }), "`member`: a peer number, a MAC address, or `gateway` stands here"),
            (Topic::AddRoute, json!({ "network": "10.0.0.0/8", "via": [] }), "`via`: a peer number or a MAC address stands here"),
            (Topic::Ping, json!({ "member": "2", "count": 0 }), "`count` is 0"),
            (Topic::Ping, json!({ "member": "2", "size": 9000 }), "`size` is 9000"),
            (Topic::Members, json!({ "room": [] }), "`room`: invalid type: sequence, expected a string"),
            (Topic::Ping, json!({ "member": "2", "count": "x" }), "`count`: invalid type"),
            (Topic::SetLogLevel, json!({ "level": 1 }), "`level`: invalid type"),
        ] {
            let error = format!("{:?}", topic.ask(Some(params)).unwrap_err());
            assert!(error.contains(word) && error.contains("-32602"), "{error}");
        }
    }

    #[test]
    fn every_parameter_of_a_method_is_described() {
        for topic in Topic::ALL {
            let mut generator = SchemaSettings::draft07().into_generator();
            let schema = topic.params_schema(&mut generator).map(Value::from).unwrap_or_default();
            let mut described: Vec<&str> = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
            let mut named = topic.signature().params.to_vec();
            described.sort_unstable();
            named.sort_unstable();
            assert_eq!(named, described, "{topic:?}");
        }
    }
}
