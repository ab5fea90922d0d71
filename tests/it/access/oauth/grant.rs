//! Grants for both sides: a line of the file of principals for the gateway, and a scope for RabbitMQ.

use std::fmt;

use rabbitmq_gateway::domain::access::Verb;

use super::{operation::Touched, places, random::Random};

/// The texts between the stars of a pattern, without escapes.
#[derive(Debug, Clone)]
pub struct Pattern(pub Vec<String>);

#[derive(Debug, Clone)]
pub struct Grant {
    pub verb: Verb,
    pub name: Pattern,
    /// For routing keys.
    pub key: Option<Pattern>,
}

impl Pattern {
    /// Whether it has stars only.
    pub fn is_stars(&self) -> bool {
        self.0.len() > 1 && self.0.iter().all(String::is_empty)
    }

    /// The text before the first star.
    pub fn start(&self) -> &str {
        &self.0[0]
    }

    /// One that often matches the text.
    fn near(text: &str, random: &mut Random) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let piece = |from: usize, to: usize| characters[from..to].iter().collect::<String>();
        let end = characters.len();
        let at = random.below(end + 1);
        let from = random.below(at + 1);
        let parts = match random.below(8) {
            0 => vec![piece(0, at), String::new()],
            1 => vec![String::new(), piece(at, end)],
            2 => vec![piece(0, from), piece(at, end)],
            3 => vec![String::new(), piece(from, at), String::new()],
            4 => vec![piece(0, from), piece(from, at), piece(at, end)],
            5 => vec![piece(0, at), String::new(), String::new()],
            _ => vec![text.to_owned()],
        };
        Self(parts)
    }
}

impl Grant {
    /// One that has little to do with the operations.
    pub fn any(random: &mut Random) -> Self {
        let verb = random.one_of(&[Verb::Configure, Verb::Write, Verb::Read, Verb::Call]);
        let name = match random.below(4) {
            0 => random.one_of(&places::QUEUES),
            1 => random.one_of(&places::EXCHANGES).name,
            2 => random.one_of(&places::ABSENT_EXCHANGES),
            _ => {
                let parts = random.one_of(&places::PATTERNS).iter().map(|part| (*part).to_owned());
                return Self { verb, name: Pattern(parts.collect()), key: None };
            }
        };
        let touched = Touched { verb, name, key: random.one_of(&places::KEYS) };
        Self::near(touched, random)
    }

    /// One that often covers this permission.
    pub fn near(Touched { verb, name, key }: Touched, random: &mut Random) -> Self {
        let name = Pattern::near(name, random);
        // A grant needs a name.
        let name = if name.0 == [""] { Pattern(vec![String::new(); 2]) } else { name };
        let has_key = verb != Verb::Call && random.percent(55);
        let key = has_key.then(|| match random.below(8) {
            0 => Pattern(vec![String::new(); 2]),
            1 | 2 => Pattern::near(random.one_of(&places::KEYS), random),
            _ => Pattern::near(key, random),
        });
        Self { verb, name, key }
    }

    /// The scope in the virtual host, which needs no escape.
    pub fn scope(&self, vhost: &str) -> String {
        format!("{}:{vhost}/{}", self.verb.word(), self.pattern())
    }

    /// The pattern in the file of principals.
    pub fn pattern(&self) -> String {
        match &self.key {
            Some(key) => format!("{}/{key}", self.name),
            None => self.name.to_string(),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let escaped = |part: &String| {
            let part = part.replace('%', "%25").replace('*', "%2A");
            part.replace('/', "%2f").replace('+', "%2B").replace('{', "%7B")
        };
        out.write_str(&self.0.iter().map(escaped).collect::<Vec<_>>().join("*"))
    }
}
