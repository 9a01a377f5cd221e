//! `masq run --metrics`: counters and tables for Prometheus, over HTTP.
//!
//! Each scrape is made of the same [`Stats`] that `masq stats` shows, from counters alone: it costs
//! some hundred reads of map elements, however many sessions there are; unless hosts are asked for too
//! ([`hosts`]). The daemon has one thread,
//! so what strangers may ask of it is bounded: connections, time, and the size of a request. It
//! knows no TLS and no passwords; the address is the user's choice.
//!
//! [`Stats`]: crate::control::proto::Stats

mod hosts;
mod text;

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, SocketAddrV4, TcpListener as StdListener},
    os::fd::AsRawFd as _,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, setsockopt, sockopt,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::spawn_local,
    time::{sleep, timeout},
};

use self::{hosts::Hosts, text::Format};
use crate::{
    control::{server::Subject, summary},
    error::{Error, Result},
};

/// Connections that are served at once; more have to wait.
const CONNECTIONS: usize = 8;

/// How long a connection may last, from its first byte to the last one of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, with all its headers, is shorter. (hyper takes no smaller bound than this.)
const MAX_REQUEST: usize = 8192;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Listens at an address of the user's choice. An IPv4 address may be one that the machine does not have
/// yet: the gateway does not wait for a LAN to come up.
///
/// # Errors
/// [`Error::Refused`] if it is taken.
pub fn listen(address: SocketAddr) -> Result<StdListener> {
    let listener = match address {
        SocketAddr::V4(address) => listen_early(address),
        SocketAddr::V6(_) => StdListener::bind(address),
    };
    let listener = listener.and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| {
        Error::Refused(format!(
            "cannot serve metrics at {address}: {error}; choose another --metrics ADDR:PORT"
        ))
    })
}

fn listen_early(address: SocketAddrV4) -> io::Result<StdListener> {
    let (stream, flags) = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let socket = socket::socket(AddressFamily::Inet, stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(address))?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket.into())
}

/// Serves for ever.
pub async fn run(listener: StdListener, subject: Rc<Subject>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!("no metrics: {error}"),
    };
    if let Ok(address) = listener.local_addr() {
        tracing::info!("metrics are at http://{address}/metrics");
    }
    let hosts = Rc::new(Hosts::default());
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (subject, hosts) = (Rc::clone(&subject), Rc::clone(&hosts));
                spawn_local(async move {
                    serve(stream, &subject, &hosts).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection for metrics: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// One connection: one request, one answer. What goes wrong on the way is the client's to notice.
async fn serve(stream: TcpStream, subject: &Subject, hosts: &Rc<Hosts>) {
    let service =
        service_fn(async |request| Ok::<_, Infallible>(answer(&request, subject, hosts).await));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST)
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a connection for metrics failed: {error}"),
        Err(_) => tracing::debug!("a connection for metrics took too long"),
    }
}

async fn answer(
    request: &Request<Incoming>,
    subject: &Subject,
    hosts: &Rc<Hosts>,
) -> Response<String> {
    let plain = "text/plain; charset=utf-8";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, plain, "only GET\n".into());
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {}
        "/" => return respond(StatusCode::OK, plain, "masq; see /metrics\n".into()),
        _ => return respond(StatusCode::NOT_FOUND, plain, "not here; see /metrics\n".into()),
    }
    let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Format::wanted(accepted.unwrap_or_default());
    match scrape(subject, hosts, format).await {
        Ok(text) => respond(StatusCode::OK, format.content_type(), text),
        Err(error) => {
            tracing::warn!("no metrics this time: {error:#}");
            respond(StatusCode::INTERNAL_SERVER_ERROR, plain, format!("{error:#}\n"))
        }
    }
}

async fn scrape(subject: &Subject, hosts: &Rc<Hosts>, format: Format) -> anyhow::Result<String> {
    let most = subject.config.get().metrics_hosts;
    let hosts = hosts.first(&subject.plane, most).await;
    let stats = summary::stats(&subject.config.get(), &subject.plane, &subject.status.borrow())?;
    text::write(stats, hosts, format)
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
