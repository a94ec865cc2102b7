//! The three actions that are asked of a router (WANIPConnection:1 §2.4.16, §2.4.17, §2.4.18), as SOAP.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use roxmltree::Document;

use super::description::Service;
use super::{Ports, UpnpError, http};

/// How it is called in the router's list.
const DESCRIPTION: &str = "lanparty";

/// An action with its arguments.
pub(super) struct Action {
    name: &'static str,
    body: String,
}

pub(super) fn external_address(service: &Service) -> Action {
    action(service, "GetExternalIPAddress", &[])
}

pub(super) fn add_port(service: &Service, own: Ipv4Addr, ports: Ports, lifetime_s: u32) -> Action {
    let (external, internal) = (ports.external.to_string(), ports.internal.to_string());
    let (own, lifetime) = (own.to_string(), lifetime_s.to_string());
    action(
        service,
        "AddPortMapping",
        &[
            ("NewRemoteHost", ""),
            ("NewExternalPort", &external),
            ("NewProtocol", "UDP"),
            ("NewInternalPort", &internal),
            ("NewInternalClient", &own),
            ("NewEnabled", "1"),
            ("NewPortMappingDescription", DESCRIPTION),
            ("NewLeaseDuration", &lifetime),
        ],
    )
}

pub(super) fn delete_port(service: &Service, external: NonZeroU16) -> Action {
    let external = external.to_string();
    action(service, "DeletePortMapping", &[("NewRemoteHost", ""), ("NewExternalPort", &external), ("NewProtocol", "UDP")])
}

/// All that stands in it is ours: numbers, addresses and constants, with nothing to escape.
fn action(service: &Service, name: &'static str, arguments: &[(&str, &str)]) -> Action {
    let arguments: String = arguments.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let body = format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{name} xmlns:u=\"{}\">{arguments}</u:{name}></s:Body></s:Envelope>\r\n",
        service.kind
    );
    Action { name, body }
}

/// What the router says to it.
pub(super) async fn ask(own: Ipv4Addr, service: &Service, action: &Action) -> Result<Answer, UpnpError> {
    let (target, Action { name, body }) = (&service.control, action);
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: \"{}#{name}\"\r\nContent-Length: {}\r\n\r\n{body}",
        target.path,
        target.at,
        service.kind,
        body.len()
    );
    let (status, body) = http::ask(own, target, &request).await?;
    Ok(Answer { status, body })
}

/// A router's answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    /// Whether it did as it was asked, or the number of its error.
    pub(super) fn accepted(&self) -> Result<(), UpnpError> {
        if self.status == 200 {
            return Ok(());
        }
        match self.text("errorCode").and_then(|code| code.parse().ok()) {
            Some(code) => Err(UpnpError::Refused(code)),
            None => Err(UpnpError::Status(self.status)),
        }
    }

    pub(super) fn external_ip(&self) -> Result<Ipv4Addr, UpnpError> {
        self.accepted()?;
        let ip = self.text("NewExternalIPAddress").and_then(|ip| ip.parse::<Ipv4Addr>().ok());
        ip.filter(|ip| !ip.is_unspecified()).ok_or(UpnpError::Unreadable("it has no address on the internet"))
    }

    fn text(&self, name: &str) -> Option<String> {
        let document = Document::parse(&self.body).ok()?;
        document.descendants().find(|node| node.tag_name().name() == name)?.text().map(|text| text.trim().to_owned())
    }
}
