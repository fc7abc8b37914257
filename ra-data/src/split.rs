//! What is held out.
use crate::interactions::{Interactions, Row};
use ra_core::Sequences;

/// Three parts, a row a user, items as dense ids from 1.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) train: Sequences,
    pub(crate) valid: Sequences,
    pub(crate) test: Sequences,
}

/// Every user's rows by time and then by place in the file.
fn by_user(log: &Interactions) -> Vec<Vec<Row>> {
    let mut users = vec![Vec::new(); log.users.len()];
    log.rows.iter().for_each(|row| users[row.user as usize].push(*row));
    for rows in &mut users {
        rows.sort_by(|a, b| a.time.total_cmp(&b.time).then(a.index.cmp(&b.index)));
    }
    users
}

fn items(rows: &[Row]) -> Vec<u32> {
    rows.iter().map(|row| row.item + 1).collect()
}

/// Last interaction for test, the one before for validation; users with fewer than three only train.
pub(crate) fn leave_one_out(log: &Interactions) -> Parts {
    let users = by_user(log);
    let held = |rows: &Vec<Row>| if rows.len() < 3 { 0 } else { 2 };
    let part = |from: usize, to: usize| {
        let cut = |rows: &Vec<Row>| {
            if held(rows) == 0 { Vec::new() } else { items(&rows[rows.len() - from..rows.len() - to]) }
        };
        Sequences::from_rows(users.iter().map(cut))
    };
    Parts {
        train: Sequences::from_rows(users.iter().map(|rows| items(&rows[..rows.len() - held(rows)]))),
        valid: part(2, 1),
        test: part(1, 0),
    }
}

/// Two points in time: the latest share `test` of all interactions, before them the share `valid`. Interactions of one
/// time stay in one part.
pub(crate) fn temporal(log: &Interactions, valid: f64, test: f64) -> Parts {
    let mut times: Vec<f64> = log.rows.iter().map(|r| r.time).collect();
    times.sort_by(f64::total_cmp);
    let cut = |share: f64| {
        let held = (share * times.len() as f64).floor() as usize;
        if held == 0 { f64::INFINITY } else { times[times.len() - held] }
    };
    let (valid_from, test_from) = (cut(valid + test), cut(test));
    let users = by_user(log);
    let part = |from: f64, to: f64| {
        let cut = |rows: &Vec<Row>| {
            rows.iter().filter(|r| r.time >= from && r.time < to).map(|r| r.item + 1).collect::<Vec<_>>()
        };
        Sequences::from_rows(users.iter().map(cut))
    };
    Parts {
        train: part(f64::NEG_INFINITY, valid_from),
        valid: part(valid_from, test_from),
        test: part(test_from, f64::INFINITY),
    }
}

/// The first `train` rows of the log train, the others test.
pub(crate) fn given(log: &Interactions, train: usize) -> Parts {
    let users = by_user(log);
    let part = |trains: bool| {
        let cut = |rows: &Vec<Row>| {
            let own = rows.iter().filter(|r| ((r.index as usize) < train) == trains);
            own.map(|r| r.item + 1).collect::<Vec<_>>()
        };
        Sequences::from_rows(users.iter().map(cut))
    };
    let none = Sequences::from_rows(users.iter().map(|_| Vec::new()));
    Parts { train: part(true), valid: none, test: part(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Interactions {
        let rows =
            [("u", "a", 3.0), ("u", "b", 1.0), ("u", "c", 1.0), ("u", "a", 9.0), ("v", "b", 5.0), ("v", "a", 7.0)];
        Interactions::from_rows(&rows)
    }

    #[test]
    fn leave_one_out_keeps_the_order_of_time_and_file() {
        let parts = leave_one_out(&log());
        assert_eq!(parts.train, Sequences::from_rows([vec![2, 3], vec![2, 1]]));
        assert_eq!(parts.valid, Sequences::from_rows([vec![1], vec![]]));
        assert_eq!(parts.test, Sequences::from_rows([vec![1], vec![]]));
    }

    #[test]
    fn given_files_stay_apart() {
        let parts = given(&log(), 4);
        assert_eq!(parts.train, Sequences::from_rows([vec![2, 3, 1, 1], vec![]]));
        assert_eq!(parts.test, Sequences::from_rows([vec![], vec![2, 1]]));
        assert_eq!(parts.valid.total(), 0);
    }

    #[test]
    fn nothing_trained_on_is_later_than_what_is_predicted() {
        let parts = temporal(&log(), 0.2, 0.34);
        assert_eq!(parts.train, Sequences::from_rows([vec![2, 3, 1], vec![]]));
        assert_eq!(parts.valid, Sequences::from_rows([vec![], vec![2]]));
        assert_eq!(parts.test, Sequences::from_rows([vec![1], vec![1]]));
    }
}
