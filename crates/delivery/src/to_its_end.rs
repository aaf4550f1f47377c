//! Work that is not to be broken off by whoever waits for it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// A future that goes on as a task of its own where whoever waits for it leaves. As long as he waits it costs him no task.
pub(crate) struct ToItsEnd<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> ToItsEnd<T> {
    pub(crate) fn of(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // One that has ended is not asked again. One that panics is gone, and not taken up again when this is dropped.
        let Some(mut future) = self.0.take() else { return Poll::Pending };
        let poll = future.as_mut().poll(cx);
        if poll.is_pending() {
            self.0 = Some(future);
        }
        poll
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        let Some(future) = self.0.take() else { return };
        // Without a runtime nothing goes on.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { drop(future.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_answers_whoever_waits() {
        assert_eq!(ToItsEnd::of(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn it_goes_on_without_whoever_has_left() {
        let (go_on, has_ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = ToItsEnd::of({
            let (go_on, has_ended) = (Arc::clone(&go_on), Arc::clone(&has_ended));
            async move {
                go_on.notified().await;
                has_ended.notify_one();
            }
        });
        // It is begun, and left.
        tokio::select! {
            biased;
            () = work => unreachable!("it waits"),
            () = std::future::ready(()) => {}
        }
        go_on.notify_one();
        has_ended.notified().await;
    }
}
