//! A service over a bundle: HTTP and JSON, a page to try it, and metrics.
//!
//! Requests are answered by worker threads. Each takes several that wait and answers those for one row together, so that under load
//! many requests share a pass through the models. The bundle is never changed: a new one is loaded beside it, checked by its canaries and
//! put in its place, and requests that are under way end with the old one.
mod http;
mod metrics;
mod work;

pub use http::ServeConfig;

use crate::bundle::Bundle;
use crate::terminal;
use anyhow::{Context, Result, bail};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use metrics::Metrics;
use ra_core::Device;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use work::Workers;

/// The time for the head of a request, and for the requests that are under way when the service ends.
const HEAD: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(10);

/// The number of connections at a time; further ones wait.
const CONNECTIONS: usize = 1024;

/// The number of searches, comparisons and additions at a time.
const ASIDE: usize = 8;

/// The pause after a connection could not be taken, such as for want of file handles.
const PAUSE: Duration = Duration::from_millis(50);

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Service {
    bundle: RwLock<Arc<Bundle>>,
    /// The items that were added since the start, which a new bundle gets as well.
    added: Mutex<Vec<(String, String)>>,
    source: Source,
    workers: Workers,
    /// Room for what is not answered by the workers: searches and the like.
    room: Semaphore,
    metrics: Metrics,
    token: Option<String>,
}

/// Where bundles come from. No request can change it.
#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    lm: Option<PathBuf>,
    device: Device,
}

impl Source {
    fn open(&self) -> Result<Bundle> {
        Bundle::open(&self.path, self.lm.as_deref(), &self.device)
    }
}

impl Service {
    /// Returns the bundle that answers now.
    pub(crate) fn bundle(&self) -> Arc<Bundle> {
        self.bundle.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads the bundle again from its folder and puts it in the place of the old one. If it cannot be used, the old one
    /// stays.
    ///
    /// # Errors
    /// As [`Bundle::open`].
    pub(crate) fn reload(&self) -> Result<()> {
        // Nobody adds items to the old bundle meanwhile.
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        let load = || -> Result<(Bundle, Vec<(String, String)>)> {
            let loaded = self.source.open()?;
            let still: Vec<_> = added.iter().filter(|(id, _)| !loaded.knows(id)).cloned().collect();
            let loaded = if still.is_empty() { loaded } else { loaded.with_items(&still)? };
            Ok((loaded, still))
        };
        let (loaded, still) = load().inspect_err(|_| self.metrics.refused.inc())?;
        *added = still;
        let drift = loaded.drift();
        self.place(loaded);
        self.metrics.loaded(drift);
        Ok(())
    }

    /// Adds items to the catalogue.
    ///
    /// # Errors
    /// If there are none; as [`Bundle::with_items`].
    pub(crate) fn add(&self, more: &[(String, String)]) -> Result<()> {
        if more.is_empty() {
            bail!("items is empty; give at least one item with its id and title");
        }
        let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = self.bundle().with_items(more)?;
        added.extend(more.iter().cloned());
        self.place(grown);
        Ok(())
    }

    fn place(&self, bundle: Bundle) {
        self.metrics.items(bundle.items());
        *self.bundle.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bundle);
    }
}

/// Serves a bundle until the process is told to end (SIGTERM, or Ctrl-C). SIGHUP loads the bundle again from its folder.
///
/// # Errors
/// If the bundle cannot be used, if the address is taken, or if it is not this machine's own and no token is set.
pub fn serve(config: &ServeConfig, device: &Device) -> Result<()> {
    let address = config.address()?;
    let token = config.token()?;
    if !address.ip().is_loopback() && token.is_none() {
        bail!(
            "--listen {address}: everybody who can reach it could ask; set a token by --token-file or RA_REC_TOKEN, or \
             listen on 127.0.0.1"
        );
    }
    let source = Source { path: config.bundle.clone(), lm: config.lm.clone(), device: device.clone() };
    // Before the bundle is read, which takes time.
    let listener = std::net::TcpListener::bind(address).with_context(|| {
        format!("--listen {address}: cannot be used; is another service there? choose another port")
    })?;
    listener.set_nonblocking(true)?;
    let bundle = source.open()?;
    let metrics = Metrics::new()?;
    metrics.items(bundle.items());
    metrics.loaded(bundle.drift());
    let service = Arc::new(Service {
        bundle: RwLock::new(Arc::new(bundle)),
        added: Mutex::default(),
        source,
        workers: Workers::new(config.threads),
        room: Semaphore::new(ASIDE),
        metrics,
        token,
    });
    service.workers.start(&service)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(listen(listener, service));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn listen(listener: std::net::TcpListener, service: Arc<Service>) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let (bundle, open) = (service.bundle(), if service.token.is_some() { "; a token is needed" } else { "" });
    // Whoever starts it may signal as soon as it says that it serves.
    let (end, mut again) = (told_to_end()?, reloads()?);
    let mut end = std::pin::pin!(end);
    say!("serving {} items on http://{address} (row {}{open})", bundle.items(), bundle.manifest().rows[0].name);
    let router = http::router(service.clone());
    let (graceful, room) = (GracefulShutdown::new(), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let permit = room.clone().acquire_owned();
        tokio::select! {
            accepted = async { (permit.await, listener.accept().await) } => {
                let (permit, stream) = match accepted {
                    (Ok(permit), Ok((stream, _))) => (permit, stream),
                    (_, accepted) => {
                        tracing::warn!(error = ?accepted.err(), "a connection could not be taken");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                };
                let mut connection = hyper::server::conn::http1::Builder::new();
                connection.timer(TokioTimer::new()).header_read_timeout(HEAD);
                let own = TowerToHyperService::new(router.clone());
                let watched = graceful.watch(connection.serve_connection(TokioIo::new(stream), own));
                tokio::spawn(async move {
                    // A client that hangs up is no fault of the service.
                    _ = watched.await;
                    drop(permit);
                });
            }
            () = again.recv() => {
                let service = service.clone();
                tokio::task::spawn_blocking(move || match service.reload() {
                    Ok(()) => say!("the bundle was loaded again: {} items", service.bundle().items()),
                    Err(error) => tell!("error: the old bundle stays: {}", terminal::one_line(&error)),
                });
            }
            () = &mut end => break,
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => say!("ended"),
        () = tokio::time::sleep(GOODBYE) => tell!("ended with requests under way"),
    }
    Ok(())
}

/// Returns what resolves when the process is told to end.
fn told_to_end() -> Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        {
            _ = tokio::signal::ctrl_c().await;
        }
    })
}

/// Requests to load the bundle again.
struct Reloads {
    #[cfg(unix)]
    hangups: tokio::signal::unix::Signal,
}

fn reloads() -> Result<Reloads> {
    Ok(Reloads {
        #[cfg(unix)]
        hangups: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
    })
}

impl Reloads {
    async fn recv(&mut self) {
        #[cfg(unix)]
        if self.hangups.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

impl ServeConfig {
    fn address(&self) -> Result<SocketAddr> {
        self.listen
            .parse()
            .with_context(|| format!("--listen {}: is not an address with a port, such as 127.0.0.1:8080", self.listen))
    }

    fn token(&self) -> Result<Option<String>> {
        let given = match &self.token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file);
                Some(text.with_context(|| format!("--token-file {}: cannot be read", file.display()))?)
            }
            None => match std::env::var("RA_REC_TOKEN") {
                Ok(token) => Some(token),
                Err(std::env::VarError::NotPresent) => None,
                Err(error) => bail!("RA_REC_TOKEN: {error}"),
            },
        };
        let token = given.map(|token| token.trim().to_owned());
        if token.as_ref().is_some_and(|token| token.bytes().any(|byte| !byte.is_ascii_graphic())) {
            bail!("the token has blanks, line breaks or letters beyond ASCII, which no request can send");
        }
        if token.as_ref().is_some_and(|token| token.len() < 16) {
            bail!("the token has fewer than 16 characters; make one with `openssl rand -hex 32`");
        }
        Ok(token)
    }
}
