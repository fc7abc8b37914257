//! Worker threads that answer requests.
use super::Service;
use crate::bundle::{Answer, Request};
use anyhow::{Result, anyhow};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
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
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.request.fmt(f)
    }
}

impl Workers {
    pub(super) fn new(threads: Option<usize>) -> Self {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let (queue, waiting) = sync_channel(WAITING);
        Self { threads: threads.unwrap_or(all).max(1), queue, waiting: Arc::new(Mutex::new(waiting)) }
    }

    /// Starts the threads. They end with the process.
    pub(super) fn start(&self, service: &Arc<Service>) -> Result<()> {
        for number in 0..self.threads {
            let (waiting, service) = (self.waiting.clone(), Arc::downgrade(service));
            std::thread::Builder::new().name(format!("answer-{number}")).spawn(move || work(&waiting, &service))?;
        }
        Ok(())
    }

    /// Queues a request. Returns nothing if too many wait already.
    pub(super) fn ask(&self, request: Request) -> Option<oneshot::Receiver<Result<Answer>>> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Job { request, reply }) {
            Ok(()) => Some(answer),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, service: &Weak<Service>) {
    let mut next: Option<Job> = None;
    loop {
        let mut jobs = Vec::new();
        {
            let queue = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(first) = next.take().or_else(|| queue.recv().ok()) else { return };
            let row = first.request.row.clone();
            jobs.push(first);
            while jobs.len() < TOGETHER && next.is_none() {
                match queue.try_recv() {
                    Ok(job) if job.request.row == row => jobs.push(job),
                    Ok(job) => next = Some(job),
                    Err(_) => break,
                }
            }
        }
        let Some(service) = service.upgrade() else { return };
        // Nobody waits any more for a request that ran out of time.
        jobs.retain(|job| !job.reply.is_closed());
        answer(&service, jobs);
    }
}

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

/// Turns a panic into an error, so that a worker outlives it.
fn caught<T>(answer: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(answer))
        .unwrap_or_else(|_| Err(anyhow!("the model failed; please report this request")))
}
