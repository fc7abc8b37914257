//! The routes of the service.
use super::Service;
use super::work::Fault;
use crate::bundle::{Answer, BundleRow, Named, Request, Similar, at_least_one};
use crate::terminal::one_line;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, MatchedPath, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::{IntoParams, OpenApi, ToSchema};

/// The largest body, in bytes.
const BODY: usize = 1 << 20;

/// The largest list in an answer, and the number of items that can be added at a time.
const MOST: usize = 1000;

/// The time for a whole request.
const TIME: Duration = Duration::from_secs(10);

const PAGE: &str = include_str!("page.html");

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The folder of the bundle.
    pub bundle: PathBuf,
    /// The address, such as `127.0.0.1:8080`; port 0 takes any free one.
    pub listen: String,
    /// The language model of a bundle that was exported without it.
    pub lm: Option<PathBuf>,
    /// A file with the token that requests must bring; by default `RA_REC_TOKEN`, if it is set.
    pub token_file: Option<PathBuf>,
    /// The number of threads that answer; by default all cores.
    pub threads: Option<usize>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "RA-Rec", description = "Recommendations from a bundle"),
    paths(recommend, similar, items, add, bundle, reload, health, ready, metrics)
)]
struct Api;

/// An error: what is wrong and what to do.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// In one line.
    error: String,
}

struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.0, Json(Problem { error: self.1 })).into_response();
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        let is_fault = error.downcast_ref::<Fault>().is_some();
        Self(if is_fault { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST }, one_line(&error))
    }
}

impl From<JsonRejection> for Refused {
    fn from(error: JsonRejection) -> Self {
        Self(error.status(), error.body_text())
    }
}

impl From<QueryRejection> for Refused {
    fn from(error: QueryRejection) -> Self {
        Self(error.status(), error.body_text())
    }
}

type Replied<T> = Result<Json<T>, Refused>;

/// A JSON object. Serde would also take an array for a struct, by the order of its fields.
#[derive(Debug)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(body: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }
        body.deserialize_map(Fields(PhantomData))
    }
}

type Body<T> = Result<Json<Object<T>>, JsonRejection>;
type Shared = State<Arc<Service>>;

pub(super) fn router(service: Arc<Service>) -> Router {
    let guarded = Router::new()
        .route("/v1/recommend", post(recommend))
        .route("/v1/similar", post(similar))
        .route("/v1/items", get(items).post(add))
        .route("/v1/bundle", get(bundle))
        .route("/v1/reload", post(reload))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(service.clone(), guard));
    Router::new()
        .route("/", get(page))
        .route("/openapi.json", get(|| async { Json(Api::openapi()) }))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .merge(guarded)
        .fallback(|| async { Refused(StatusCode::NOT_FOUND, "there is no such route; see /openapi.json".into()) })
        .method_not_allowed_fallback(|| async {
            Refused(StatusCode::METHOD_NOT_ALLOWED, "the route has another method; see /openapi.json".into())
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(service.clone(), timed))
        .with_state(service)
}

/// Refuses requests without the token, if there is one. Without one, requests that a page of another site makes a browser
/// send are refused: they name another host or origin than this machine.
async fn guard(State(service): Shared, headers: HeaderMap, request: axum::extract::Request, next: Next) -> Response {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let foreign = text(header::HOST).is_none_or(|host| !is_own(host))
        || headers.contains_key(header::ORIGIN) && text(header::ORIGIN).is_none_or(|origin| !is_own(origin));
    if service.token.is_none() && foreign {
        let told = "without a token, only this machine may ask: by localhost, or an address such as 127.0.0.1";
        return Refused(StatusCode::FORBIDDEN, told.into()).into_response();
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split_once(' '));
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    match &service.token {
        Some(token) if !given.is_some_and(|given| is_same(given.as_bytes(), token.as_bytes())) => {
            let told = "needs the header `Authorization: Bearer TOKEN` with the token of the service";
            ([(header::WWW_AUTHENTICATE, "Bearer")], Refused(StatusCode::UNAUTHORIZED, told.into())).into_response()
        }
        _ => next.run(request).await,
    }
}

/// Returns whether a host or an origin is this machine's own.
fn is_own(name: &str) -> bool {
    let host = name.strip_prefix("http://").unwrap_or(name);
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |own| own.0);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares in a time that does not tell how much is right.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differs = given.iter().zip(token).fold(0, |differs, (a, b)| differs | (a ^ b));
    given.len() == token.len() && differs == 0
}

/// Limits the time of a request and records it.
async fn timed(
    State(service): Shared,
    path: Option<MatchedPath>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let since = Instant::now();
    let route = path.map_or_else(|| "other".into(), |path| path.as_str().to_owned());
    // What says that it is too large is not waited for.
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let is_large = length.is_some_and(|length: u64| length > BODY as u64);
    // What changes the bundle takes as long as it takes: it would go on without its client.
    let changes = route == "/v1/reload" || route == "/v1/items" && request.method() == Method::POST;
    let response = if is_large {
        let told = format!("the body is larger than {BODY} bytes");
        ([(header::CONNECTION, "close")], Refused(StatusCode::PAYLOAD_TOO_LARGE, told)).into_response()
    } else if changes {
        next.run(request).await
    } else {
        tokio::time::timeout(TIME, next.run(request)).await.unwrap_or_else(|_| {
            let told = format!("took more than {} seconds", TIME.as_secs());
            Refused(StatusCode::REQUEST_TIMEOUT, told).into_response()
        })
    };
    service.metrics.request(&route, response.status().as_u16(), since.elapsed());
    response
}

/// Recommends items.
#[utoipa::path(post, path = "/v1/recommend", request_body = Request, responses(
    (status = 200, body = Answer), (status = 400, body = Problem), (status = 401, body = Problem),
    (status = 413, body = Problem), (status = 503, body = Problem),
))]
async fn recommend(State(service): Shared, request: Body<Request>) -> Result<Json<Answer>, Refused> {
    let Json(Object(request)) = request?;
    at_most("top", request.top.unwrap_or(0))?;
    let answer = service.workers.ask(request).ok_or_else(busy)?;
    Ok(Json(answer.await.map_err(|_| busy())??))
}

fn busy() -> Refused {
    Refused(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait; try again soon".into())
}

fn at_most(key: &str, value: usize) -> Result<(), Refused> {
    let told = || Refused(StatusCode::BAD_REQUEST, format!("{key} is {value}, at most {MOST} are allowed"));
    if value <= MOST { Ok(()) } else { Err(told()) }
}

/// An item, and how many similar ones.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SimilarRequest {
    /// The id, or else the title.
    item: String,
    /// The number of items; 10 by default.
    top: Option<usize>,
    /// The row that compares; the first of the bundle by default.
    row: Option<String>,
}

/// Returns items similar to one.
#[utoipa::path(post, path = "/v1/similar", request_body = SimilarRequest, responses(
    (status = 200, body = Similar), (status = 400, body = Problem),
))]
async fn similar(State(service): Shared, request: Body<SimilarRequest>) -> Result<Json<Similar>, Refused> {
    let Json(Object(SimilarRequest { item, top, row })) = request?;
    let top = top.unwrap_or(10);
    at_most("top", top)?;
    off(service, move |service| service.bundle().similar(&item, row.as_deref(), top)).await
}

/// Runs something long outside the threads that read and write, if there is room for it.
async fn off<T: Send + 'static>(
    service: Arc<Service>,
    work: impl FnOnce(&Service) -> anyhow::Result<T> + Send + 'static,
) -> Replied<T> {
    let work = move || {
        // Held until the work is done, whether or not its client waits.
        let _room = service.room.try_acquire().map_err(|_| busy())?;
        Ok::<T, Refused>(work(&service)?)
    };
    let found = tokio::task::spawn_blocking(work).await;
    Ok(Json(found.map_err(|_| Refused::from(anyhow::Error::from(Fault)))??))
}

/// A search.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Search {
    /// Words of the title, or an id; the most popular items without it.
    q: Option<String>,
    /// The number of items; 20 by default.
    top: Option<usize>,
}

/// Finds items by words of their title.
#[utoipa::path(get, path = "/v1/items", params(Search), responses(
    (status = 200, body = [Named]), (status = 400, body = Problem),
))]
async fn items(State(service): Shared, search: Result<Query<Search>, QueryRejection>) -> Replied<Vec<Named>> {
    let Query(Search { q, top }) = search?;
    let top = top.unwrap_or(20);
    at_most("top", top)?;
    at_least_one("top", top)?;
    off(service, move |service| {
        let bundle = service.bundle();
        Ok(q.filter(|q| !q.trim().is_empty()).map_or_else(|| bundle.popular(top), |q| bundle.search(&q, top)))
    })
    .await
}

/// New items.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewItems {
    /// The items.
    #[schema(value_type = Vec<NewItem>)]
    items: Vec<Object<NewItem>>,
}

/// A new item.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewItem {
    /// Its id, which must be new.
    item: String,
    /// Its title.
    title: String,
}

/// What was added.
#[derive(Debug, Serialize, ToSchema)]
struct Added {
    /// The number of items that were added.
    added: usize,
    /// The number of items of the catalogue.
    items: usize,
}

/// Adds items until the service ends. Rows that read titles recommend them from then on.
#[utoipa::path(post, path = "/v1/items", request_body = NewItems, responses(
    (status = 200, body = Added), (status = 400, body = Problem),
))]
async fn add(State(service): Shared, request: Body<NewItems>) -> Replied<Added> {
    let Json(Object(NewItems { items })) = request?;
    at_most("items", items.len())?;
    let more: Vec<(String, String)> = items.into_iter().map(|Object(own)| (own.item, own.title)).collect();
    off(service, move |service| {
        service.add(&more)?;
        Ok(Added { added: more.len(), items: service.bundle().items() })
    })
    .await
}

/// What is served.
#[derive(Debug, Serialize, ToSchema)]
struct Served {
    name: String,
    items: usize,
    /// The rows that answer; the first one by default.
    rows: Vec<BundleRow>,
    made_by: String,
    commit: String,
    dataset: String,
    names_users: bool,
}

/// Describes the bundle.
#[utoipa::path(get, path = "/v1/bundle", responses((status = 200, body = Served)))]
async fn bundle(State(service): Shared) -> Json<Served> {
    let bundle = service.bundle();
    let own = bundle.manifest().clone();
    Json(Served {
        name: own.name,
        items: bundle.items(),
        rows: own.rows,
        made_by: own.made_by,
        commit: own.commit,
        dataset: own.dataset,
        names_users: own.names_users,
    })
}

/// Nothing: an empty object.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// Loads the bundle again from its folder; the old one answers meanwhile, and stays if the new one cannot be used.
#[utoipa::path(post, path = "/v1/reload", request_body = Empty, responses((status = 200, body = Served), (status = 400, body = Problem)))]
async fn reload(State(service): Shared, empty: Result<Json<Empty>, JsonRejection>) -> Result<Json<Served>, Refused> {
    let Json(Empty {}) = empty?;
    let Json(()) = off(service.clone(), Service::reload).await?;
    Ok(bundle(State(service)).await)
}

/// Says that the process lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String)))]
async fn health() -> &'static str {
    "ok\n"
}

/// Says whether requests are answered: there is a bundle whose canaries were right, and the queue has room.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = String), (status = 503, body = Problem)))]
async fn ready(State(service): Shared) -> Result<String, Refused> {
    if !service.workers.has_room() {
        return Err(busy());
    }
    Ok(format!("ready: {} items\n", service.bundle().items()))
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
async fn metrics(State(service): Shared) -> Result<Response, Refused> {
    let text = service.metrics.text()?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

/// The page to try it. It loads nothing from elsewhere.
async fn page() -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let mut response = Html(PAGE).into_response();
    if let Ok(policy) = HeaderValue::from_str(policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
