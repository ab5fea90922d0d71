//! A toy gateway on port 0 with short deadlines, and a client that sends exactly the given bytes.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use rabbitmq_gateway::domain::field::HeaderLimits;
use rabbitmq_gateway::http::admission::AdmissionControl;
use rabbitmq_gateway::http::layers::{LayerSettings, LayeredRouter};
use rabbitmq_gateway::http::request::body::ReadBody;
use rabbitmq_gateway::http::routes::{Admission, RouteTable, Traits};
use rabbitmq_gateway::http::server::serve;
use rabbitmq_gateway::http::{
    Access, AuditLevel, Authentication, ConnectionLimits, Deadline, Limits, PullLimits,
};
use rabbitmq_gateway::lifecycle::Lifecycle;
use rabbitmq_gateway::metrics::Metrics;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use crate::support::poll::{eventually, within};

pub const FIRST_BYTE: Duration = Duration::from_millis(800);
pub const HEADER: Duration = Duration::from_millis(400);
pub const KEEP_ALIVE: Duration = Duration::from_millis(800);
pub const WRITE: Duration = Duration::from_millis(400);
pub const BODY: Duration = Duration::from_millis(300);
/// The longest wait of any test.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The panic message of `/panic`.
pub const SECRET: &str = "the secret is 1234";

pub struct Toy {
    pub address: SocketAddr,
    pub lifecycle: Lifecycle,
    pub admission: AdmissionControl,
    pub task: JoinHandle<()>,
    /// Bodies that `/keep` and `/keep-and-wait` have kept; an empty one when the handler of the latter is dropped.
    pub kept: mpsc::UnboundedReceiver<Bytes>,
}

pub fn connection_limits() -> ConnectionLimits {
    ConnectionLimits {
        max_connections: 4096,
        first_byte_timeout: FIRST_BYTE,
        header_timeout: HEADER,
        keep_alive_timeout: KEEP_ALIVE,
        write_timeout: WRITE,
        max_body_bytes: limits().max_body_bytes,
    }
}

pub fn limits() -> Limits {
    let deadline = Deadline { default: PATIENCE, max: PATIENCE };
    Limits {
        max_body_bytes: 1 << 20,
        body_timeout: BODY,
        max_header_bytes: 16 * 1024,
        max_bytes_in_flight: 2 << 20,
        max_requests_in_flight: 8,
        max_publish_streams: 2,
        publish_window: 4,
        max_batch_items: 8,
        max_topology_items: 8,
        max_topology_documents: 2,
        amqp_headers: HeaderLimits { count: 100, bytes: 16 * 1024, depth: 8 },
        publish: deadline,
        rpc: deadline,
        topology: deadline,
        pull: PullLimits {
            default_max: 1,
            max: 8,
            default_wait: PATIENCE,
            max_wait: PATIENCE,
            default_lease: PATIENCE,
            max_lease: PATIENCE,
            max_waiting: 2,
        },
        max_retry_delay: Duration::from_hours(24),
        settle: deadline,
    }
}

pub async fn toy() -> Toy {
    toy_with(connection_limits(), &limits()).await
}

pub async fn toy_with(connections: ConnectionLimits, limits: &Limits) -> Toy {
    toy_of(connections, limits, &Access::default()).await
}

/// A toy with these rules for pages, hosts and proxies.
pub async fn toy_for(access: &Access) -> Toy {
    toy_of(connection_limits(), &limits(), access).await
}

async fn toy_of(connections: ConnectionLimits, limits: &Limits, access: &Access) -> Toy {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (keep, kept) = mpsc::unbounded_channel();
    let lifecycle = Lifecycle::default();
    let admission = AdmissionControl::new(limits, &lifecycle);
    let settings = LayerSettings::new(address, access, limits, AuditLevel::Off);
    let layered = LayeredRouter::new(
        router(keep),
        table(),
        &settings,
        &Metrics::default(),
        (open(), admission.clone()),
    );
    let task = tokio::spawn(serve(listener, layered, connections, lifecycle.clone(), std::future::ready(())));
    Toy { address, lifecycle, admission, task, kept }
}

/// Every request may do everything.
fn open() -> Authentication {
    Authentication::new(None, "/")
}

/// The routes of the toy and their traits.
fn table() -> RouteTable {
    let mut table = RouteTable::default();
    table.add("/health", Traits { answers_any_host: true, ..Traits::default() });
    table.add("/page", Traits { is_page: true, ..Traits::default() });
    let admitted = Traits { admission: Admission::Request, ..Traits::default() };
    let message = Traits { carries_message: true, ..admitted };
    let outliving = Traits { finishes_without_caller: true, ..message };
    for path in [
        "/hello",
        "/hello/{name}",
        "/panic",
        "/teapot",
        "/echo",
        "/slow",
        "/big",
        "/stuck",
        "/keep",
        "/keep-and-wait",
    ] {
        table.add(path, admitted);
    }
    table.add_operation("/publish/{exchange}", Method::POST, outliving, None);
    table.add_operation("/publish/{exchange}/slow", Method::POST, outliving, None);
    table.add_operation("/publish/{exchange}/panic", Method::POST, outliving, None);
    table.add("/rpc/{queue}", message);
    table.add("/pull", Traits { admission: Admission::Pull, ..Traits::default() });
    table
}

fn router(keep: mpsc::UnboundedSender<Bytes>) -> Router {
    let keeping = keep.clone();
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/hello/{name}", get(async || "hello"))
        .route("/health", get(async || "up"))
        .route("/page", get(async || "a page"))
        .route("/panic", get(panics))
        .route("/teapot", get(async || (StatusCode::CONFLICT, "words of a library")))
        .route("/echo", post(async |body: ReadBody| body.bytes))
        .route("/publish/{exchange}", post(async |body: ReadBody| body.bytes))
        .route("/publish/{exchange}/slow", post(slow_echo))
        .route("/publish/{exchange}/panic", post(panics))
        .route("/rpc/{queue}", get(async || (StatusCode::CONFLICT, "words of a library")))
        .route("/slow", get(async || dawdle(Duration::from_millis(700)).await))
        .route("/big", get(async || vec![0_u8; 64 << 20]))
        .route("/pull", get(async || std::future::pending::<()>().await))
        .route("/stuck", get(async || std::future::pending::<()>().await))
        .route("/keep", post(async move |body: ReadBody| keeping.send(body.bytes).unwrap_or_default()))
        .route(
            "/keep-and-wait",
            post(async move |body: ReadBody| {
                keep.send(body.bytes).unwrap_or_default();
                let _dropped = Dropped(keep.clone());
                std::future::pending::<()>().await;
            }),
        )
}

async fn slow_echo(body: ReadBody) -> Bytes {
    dawdle(Duration::from_millis(200)).await;
    body.bytes
}

/// Reports when the future that holds it is dropped.
struct Dropped(mpsc::UnboundedSender<Bytes>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send(Bytes::new()).unwrap_or_default();
    }
}

impl Toy {
    /// Waits until new connections are refused.
    pub async fn accepts_no_more(&self) {
        let refused = || async { TcpStream::connect(self.address).await.is_err() };
        eventually(PATIENCE, "the toy accepts no more connections", refused).await;
    }

    /// Waits until this number of requests is in flight.
    pub async fn is_busy_with(&self, requests: usize) {
        let what = format!("{requests} requests are in flight");
        eventually(PATIENCE, &what, || async { self.admission.requests_in_flight() == requests }).await;
    }
}

/// Makes a client or a handler slow. A test that waits for an event uses [`eventually`] and names the event.
pub async fn dawdle(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn panics() {
    panic!("{SECRET}");
}

pub struct Client(pub TcpStream);

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub async fn to(toy: &Toy) -> Self {
        Self(TcpStream::connect(toy.address).await.unwrap())
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Closes the writing side; the answer can still arrive.
    pub async fn close_side(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// Reads one answer with a `Content-Length`.
    pub async fn answer(&mut self) -> Answer {
        tokio::time::timeout(PATIENCE, self.read_answer(true)).await.expect("no answer")
    }

    /// Reads the answer to HEAD.
    pub async fn answer_without_body(&mut self) -> Answer {
        tokio::time::timeout(PATIENCE, self.read_answer(false)).await.expect("no answer")
    }

    async fn read_answer(&mut self, body: bool) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("closed within a header"));
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        if body {
            answer.body =
                vec![0; answer.header("content-length").map_or(0, |length| length.parse().unwrap())];
            self.0.read_exact(&mut answer.body).await.unwrap();
        }
        answer
    }

    /// Waits until the server has closed the connection, and returns how long that took.
    pub async fn closed(&mut self) -> Duration {
        let begun = Instant::now();
        let mut rest = vec![0; 64 * 1024];
        let end = async { while self.0.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
        tokio::time::timeout(PATIENCE, end).await.expect("not closed");
        begun.elapsed()
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value)
    }

    /// The problem's name, after checks of the members that each problem has.
    #[track_caller]
    pub fn problem(&self) -> String {
        let body: Value = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(body["status"], self.status);
        let id = self.header("x-request-id").expect("no request id");
        assert_eq!(body["instance"], format!("urn:request:{id}"));
        assert_eq!(self.status == 503, self.header("retry-after").is_some());
        assert!(body["title"].is_string() && body["detail"].is_string());
        body["type"].as_str().unwrap().strip_prefix("/problems/").unwrap().to_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("no JSON")
    }
}

/// One request on a connection of its own.
pub async fn ask(toy: &Toy, request: impl AsRef<[u8]>) -> Answer {
    let mut client = Client::to(toy).await;
    client.send(request).await;
    client.answer().await
}

pub fn get_request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

pub fn post_request(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    write!(request, "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len())
        .unwrap();
    request.extend_from_slice(body);
    request
}
