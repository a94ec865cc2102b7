//! What a router's description says of its way to the internet.

use roxmltree::{Document, Node};

use super::Target;

/// The newest first: of several the router may have more than one.
const TYPES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// The service that opens ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Service {
    pub(super) kind: &'static str,
    pub(super) control: Target,
}

/// The service that `page`, from `location`, describes. No DTD is read, so that no entity blows up.
pub(super) fn service(page: &str, location: &Target) -> Option<Service> {
    let document = Document::parse(page).ok()?;
    let base = text(document.root_element(), "URLBase").and_then(|url| Target::of(url, *location.at.ip()));
    let base = base.as_ref().unwrap_or(location);
    let services = || document.descendants().filter(|node| node.tag_name().name() == "service");
    TYPES.into_iter().find_map(|kind| {
        let found = services().find(|service| text(*service, "serviceType") == Some(kind))?;
        Some(Service { kind, control: base.join(text(found, "controlURL")?)? })
    })
}

fn text<'a>(parent: Node<'a, '_>, name: &str) -> Option<&'a str> {
    parent.children().find(|child| child.tag_name().name() == name)?.text().map(str::trim)
}
