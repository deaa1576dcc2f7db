//! What a source says of its accounts beyond the vocabulary (an archetype, a region, an income): by these columns
//! reports compare how accounts fare. They are no features and never reach a model.

/// A few columns of words, one row per account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    names: Vec<String>,
    /// `[account]`, a word for each name.
    words: Vec<Box<[Box<str>]>>,
}

impl Groups {
    /// No accounts yet.
    pub const fn of(names: Vec<String>) -> Self {
        Self { names, words: Vec::new() }
    }

    /// The next account; an empty word is an unknown one.
    pub fn push<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        let words: Box<[Box<str>]> = words.into_iter().map(Into::into).collect();
        assert_eq!(words.len(), self.names.len(), "a word for each name");
        self.words.push(words);
    }

    /// What the columns are called.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// An account's word in each column; empty where nothing is known of it.
    pub fn words(&self, account: usize) -> impl Iterator<Item = &str> {
        let words = self.words.get(account);
        (0..self.names.len()).map(move |column| words.map_or("", |w| &w[column]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_which_nothing_is_known_has_empty_words() {
        let mut groups = Groups::of(vec!["region".into(), "income".into()]);
        groups.push(["north", ""]);
        assert_eq!(groups.words(0).collect::<Vec<_>>(), ["north", ""]);
        assert_eq!(groups.words(7).collect::<Vec<_>>(), ["", ""]);
        assert_eq!(Groups::default().words(0).count(), 0);
    }
}
