//! No tunnel: the inner addresses sit on the uplinks themselves.

use anyhow::{Context, Result};

use super::{SETTLE, Variant, Who, nothing_to_prepare};
use crate::bed::{Bed, Host, Route, UPLINK};
use crate::tools::Tools;

pub(crate) static RAW: Variant = Variant {
    name: "raw",
    who: Who::Yardstick,
    layer: 2,
    crypto: "none",
    route: Route::Direct,
    needs: &[],
    settle: SETTLE,
    version,
    prepare: nothing_to_prepare,
    start,
};

fn version(_: &Tools) -> Result<String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's version")?;
    Ok(format!("Linux {}", release.trim()))
}

fn start(bed: &Bed) -> Result<()> {
    bed.start_clock();
    Host::ENDS.iter().try_for_each(|host| bed.address(*host, UPLINK))
}
