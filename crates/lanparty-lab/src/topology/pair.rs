//! Two hosts and a relay, all in public.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::{Internet, Uplink};
use crate::lab::Lab;
use crate::labwire::LabWire;
use crate::namespace::Namespace;

/// How each is connected.
#[derive(Debug, Clone, Default)]
pub struct PairOptions {
    /// Host `a`.
    pub a: Uplink,
    /// Host `b`.
    pub b: Uplink,
    /// The relay.
    pub relay: Uplink,
}

/// Hosts `a` (10.99.0.11) and `b` (10.99.0.12) and `relay` (10.99.0.1) on one internet.
#[derive(Debug)]
pub struct Pair {
    /// Host `a`.
    pub a: Namespace,
    /// Host `b`.
    pub b: Namespace,
    /// The relay's host.
    pub relay: Namespace,
    /// The wire of `a`, when its uplink is one; likewise below.
    pub wire_a: Option<LabWire>,
    /// The wire of `b`.
    pub wire_b: Option<LabWire>,
    /// The wire of the relay.
    pub wire_relay: Option<LabWire>,
    /// The internet between them.
    pub internet: Internet,
    /// Owns all of it; last, so that everything that uses it is dropped before.
    pub lab: Lab,
}

impl Pair {
    /// Address of `a`.
    pub const A: Ipv4Addr = Internet::address(11);
    /// Address of `b`.
    pub const B: Ipv4Addr = Internet::address(12);
    /// Address of the relay.
    pub const RELAY: Ipv4Addr = Internet::address(1);

    /// Builds it in a lab called `name`.
    pub fn build(name: &str, options: &PairOptions) -> Result<Self> {
        let lab = Lab::new(name)?;
        let internet = Internet::new(&lab)?;
        let (a, b, relay) = (lab.namespace("a")?, lab.namespace("b")?, lab.namespace("relay")?);
        let wire_a = internet.attach(&lab, &a, 11, &options.a)?;
        let wire_b = internet.attach(&lab, &b, 12, &options.b)?;
        let wire_relay = internet.attach(&lab, &relay, 1, &options.relay)?;
        Ok(Self { a, b, relay, wire_a, wire_b, wire_relay, internet, lab })
    }
}
