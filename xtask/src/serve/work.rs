//! Worker threads that answer requests.
use super::Service;
use crate::bundle::{Answer, Request};
use anyhow::Result;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::oneshot;

/// The number of requests that wait, and that a worker answers in one go.
const WAITING: usize = 512;
const TOGETHER: usize = 16;

/// A request that waits for its answer.
struct Job {
    request: Request,
    reply: oneshot::Sender<Result<Answer>>,
}

/// The queue of requests.
#[derive(Debug)]
pub(super) struct Workers {
    threads: usize,
    queue: SyncSender<Job>,
    waiting: Arc<Mutex<Receiver<Job>>>,
    /// The number of requests that wait.
    length: Arc<AtomicUsize>,
}

impl Workers {
    pub(super) fn new(threads: Option<usize>) -> Self {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let (queue, waiting) = sync_channel(WAITING);
        Self {
            threads: threads.unwrap_or(all).max(1),
            queue,
            waiting: Arc::new(Mutex::new(waiting)),
            length: Arc::default(),
        }
    }

    /// Starts the threads. They end with the process.
    ///
    /// # Errors
    /// If the system has no room for so many.
    pub(super) fn start(&self, service: &Arc<Service>) -> Result<()> {
        for number in 0..self.threads {
            let (waiting, length, service) = (self.waiting.clone(), self.length.clone(), Arc::downgrade(service));
            let work = move || work(&waiting, &length, &service);
            std::thread::Builder::new().name(format!("answer-{number}")).spawn(work)?;
        }
        Ok(())
    }

    /// Queues a request. Returns nothing if too many wait already.
    pub(super) fn ask(&self, request: Request) -> Option<oneshot::Receiver<Result<Answer>>> {
        let (reply, answer) = oneshot::channel();
        self.length.fetch_add(1, Ordering::Relaxed);
        let sent = self.queue.try_send(Job { request, reply });
        if sent.is_err() {
            self.length.fetch_sub(1, Ordering::Relaxed);
        }
        sent.is_ok().then_some(answer)
    }

    /// Returns whether a request could wait.
    pub(super) fn has_room(&self) -> bool {
        self.length.load(Ordering::Relaxed) < WAITING
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, length: &AtomicUsize, service: &Weak<Service>) {
    loop {
        let mut jobs = Vec::new();
        {
            // Nothing is held back when the lock is released: another worker may wait for the next request inside it.
            let queue = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(first) = queue.recv() else { return };
            jobs.push(first);
            jobs.extend(queue.try_iter().take(TOGETHER - 1));
        }
        length.fetch_sub(jobs.len(), Ordering::Relaxed);
        let Some(service) = service.upgrade() else { return };
        // Nobody waits any more for a request that ran out of time.
        jobs.retain(|job| !job.reply.is_closed());
        let mut rows: Vec<Vec<Job>> = Vec::new();
        for job in jobs {
            match rows.iter_mut().find(|row| row[0].request.row == job.request.row) {
                Some(row) => row.push(job),
                None => rows.push(vec![job]),
            }
        }
        rows.into_iter().for_each(|jobs| answer(&service, jobs));
    }
}

/// Answers requests to one row.
fn answer(service: &Service, jobs: Vec<Job>) {
    let bundle = service.bundle();
    let (requests, replies): (Vec<Request>, Vec<_>) = jobs.into_iter().map(|job| (job.request, job.reply)).unzip();
    let all = caught(|| bundle.recommend_all(&requests));
    let answers: Vec<Result<Answer>> = match all {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        // One of them is wrong: each gets its own answer.
        Err(_) => requests.iter().map(|request| caught(|| bundle.recommend(request))).collect(),
    };
    for (reply, answer) in replies.into_iter().zip(answers) {
        if let Ok(answer) = &answer {
            service.metrics.answered(&bundle, answer);
        }
        // The client may have gone.
        _ = reply.send(answer);
    }
}

/// A fault of the service, not of a request.
#[derive(Debug, thiserror::Error)]
#[error("the model failed; the log of the service has more")]
pub(super) struct Fault;

/// Turns a panic into an error, so that a worker outlives it.
fn caught<T>(answer: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(answer)).unwrap_or_else(|_| Err(Fault.into()))
}
