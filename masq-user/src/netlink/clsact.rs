//! Removing the clsact qdisc that masq has added on a kernel without tcx.

use std::pin::pin;

use anyhow::Result;
use futures_util::StreamExt as _;
use rtnetlink::{Handle, packet_route::tc::TcHandle};

/// Removes the clsact qdisc of an interface, unless somebody has filters in it; whether it was
/// removed.
pub async fn remove_clsact(handle: Handle, index: u32) -> Result<bool> {
    let index = i32::try_from(index)?;
    let filters = || handle.traffic_filter(index).get();
    let ingress = pin!(filters().ingress().execute()).next().await.transpose()?;
    let egress = pin!(filters().egress().execute()).next().await.transpose()?;
    if ingress.is_some() || egress.is_some() {
        return Ok(false);
    }
    let mut request = handle.qdisc().del(index);
    let header = &mut request.message_mut().header;
    header.parent = TcHandle::CLSACT;
    header.handle = TcHandle { major: 0xffff, minor: 0 };
    request.execute().await?;
    Ok(true)
}
