//! Divides actions into requests of a bounded size.

/// The most bytes of a request with several actions. Each replica has room for such a request.
pub(super) const BATCH: usize = 256 * 1024;

/// Divides items into batches of at most [`BATCH`] bytes, in their order. A larger item is a batch of its own.
pub(super) fn divide<T>(items: impl IntoIterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut batches, mut bytes) = (Vec::<Vec<T>>::new(), usize::MAX);
    for item in items {
        let more = size(&item);
        bytes = bytes.saturating_add(more);
        match batches.last_mut() {
            Some(batch) if bytes <= BATCH => batch.push(item),
            _ => {
                bytes = more;
                batches.push(vec![item]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_its_size_and_a_larger_item_is_alone() {
        let items = [BATCH / 2, BATCH / 2, 1, BATCH + 1, BATCH, 3, 4];
        let expected: [&[usize]; 5] = [&[BATCH / 2, BATCH / 2], &[1], &[BATCH + 1], &[BATCH], &[3, 4]];
        assert_eq!(divide(items, |size| *size), expected);
        assert!(divide(Vec::<usize>::new(), |size| *size).is_empty());
    }
}
