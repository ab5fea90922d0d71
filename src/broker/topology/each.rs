//! Does the work for each item of a document, some at a time, with memory for those only.

use futures_util::stream::{FuturesOrdered, TryStreamExt};

/// Operations of one document at a time.
const AT_A_TIME: usize = 8;

/// Does the work for each item, some at a time, in the order of the items. Ends at the first error.
///
/// Makes a future only when its turn comes: the futures of a long document would need megabytes. A stream of `map` and `buffered`
/// would do the same, but its closure is not general enough for the compiler.
pub(super) async fn each<I, T, E, F>(
    items: impl Iterator<Item = I>,
    work: impl Fn(I) -> F,
) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    let items: Vec<I> = items.collect();
    let mut results = Vec::with_capacity(items.len());
    let mut running = FuturesOrdered::new();
    for item in items {
        if running.len() == AT_A_TIME {
            results.extend(running.try_next().await?);
        }
        running.push_back(work(item));
    }
    while let Some(result) = running.try_next().await? {
        results.push(result);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_future_of_an_item_is_made_only_when_its_turn_comes() {
        let made = Cell::new(0);
        let work = |_| {
            made.set(made.get() + 1);
            pending::<Result<(), ()>>()
        };
        assert!(each(0..1000, work).now_or_never().is_none());
        assert_eq!(made.get(), AT_A_TIME);
    }

    #[test]
    fn results_have_the_order_of_the_items_and_an_error_ends_the_work() {
        let results = each(0..20, async |n| Ok::<_, ()>(n)).now_or_never();
        assert_eq!(results, Some(Ok((0..20).collect())));
        let made = Cell::new(0);
        let work = |n| {
            made.set(n);
            async move { if n < 3 { Ok(n) } else { Err(n) } }
        };
        assert_eq!(each(0..1000, work).now_or_never(), Some(Err(3)));
        assert!(made.get() < 20, "{}", made.get());
    }
}
