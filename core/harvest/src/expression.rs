//! Conditions that an owner writes: `battery > 30 && !on_call`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::{Battery, DeviceState, Network, Weekday};

/// Longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 1_024;

/// Deepest nesting of brackets and negations in an expression.
pub const EXPRESSION_DEPTH_MAX: usize = 32;

/// Longest name of a flag, in bytes.
pub const FLAG_BYTES_MAX: usize = 64;

/// Why a text is no expression. Columns count characters from 1.
#[non_exhaustive]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ExpressionError {
    /// There is nothing in it. Leave it out to ask for nothing.
    #[error("the expression is empty")]
    Empty,
    /// It is too long.
    #[error("the expression has {bytes} bytes, at most {bytes_max} are accepted")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// Longest accepted.
        bytes_max: usize,
    },
    /// Brackets and negations nest too deeply.
    #[error("column {column}: nested more than {depth_max} deep")]
    TooDeep {
        /// Where.
        column: usize,
        /// Deepest accepted.
        depth_max: usize,
    },
    /// A character that no expression contains.
    #[error("column {column}: {character:?} has no meaning here")]
    Character {
        /// Where.
        column: usize,
        /// The character.
        character: char,
    },
    /// A number that is none, such as `1.2.3`.
    #[error("column {column}: not a number")]
    Number {
        /// Where it starts.
        column: usize,
    },
    /// A name that is too long for a flag.
    #[error("column {column}: a name has at most {bytes_max} bytes")]
    NameTooLong {
        /// Where it starts.
        column: usize,
        /// Longest accepted.
        bytes_max: usize,
    },
    /// Something else should stand here.
    #[error("column {column}: expected {expected}")]
    Expected {
        /// Where; one after the last character if the text ends too early.
        column: usize,
        /// What.
        expected: Expected,
    },
    /// A condition where a number belongs, or a number where a condition belongs.
    #[error("column {column}: expected {expected}, found {found}")]
    Kind {
        /// Where the part begins.
        column: usize,
        /// What belongs there.
        expected: Kind,
        /// What stands there.
        found: Kind,
    },
}

/// What the grammar asks for at some place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// A name, a number, `!` or `(`.
    Operand,
    /// `)`.
    ClosingBracket,
    /// `&&`, `||` or the end.
    OperatorOrEnd,
    /// The second half of `&&`, `||` or `==`.
    SecondHalf,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operand => "a name, a number, ! or (",
            Self::ClosingBracket => ")",
            Self::OperatorOrEnd => "&&, || or the end",
            Self::SecondHalf => "the same character again",
        })
    }
}

/// What a part of an expression is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// True or false.
    Condition,
    /// A number.
    Number,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Condition => "a condition",
            Self::Number => "a number",
        })
    }
}

/// What an expression says of a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// A reading or flag that decides it is unknown.
    Unknown {
        /// Column of the first name that is unknown, from 1.
        column: u32,
    },
}

/// A condition over readings and flags, parsed and checked.
///
/// ```text
/// or         = and { "||" and }
/// and        = not { "&&" not }
/// not        = "!" not | comparison
/// comparison = operand [ ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) operand ]
/// operand    = number | "true" | "false" | name | "(" or ")"
/// ```
///
/// | name | what |
/// |---|---|
/// | `battery` | charge in percent; 100 where there is no battery |
/// | `charging` | connected to power; true where there is no battery |
/// | `battery_celsius`, `celsius` | temperatures |
/// | `owner_load` | share of all processors that the owner uses, in percent |
/// | `cores` | logical processors |
/// | `memory_total_mib`, `memory_available_mib` | memory |
/// | `ethernet`, `wifi`, `cellular`, `offline` | whether the network is that |
/// | `metered`, `screen_on` | as read |
/// | `idle_seconds` | time since the user was active |
/// | `hour`, `minute` | local time of day; `minute` counts from midnight |
/// | `weekday`, `weekend` | 1 for Monday to 7 for Sunday; Saturday or Sunday |
/// | any other | a flag that the host gives in [`DeviceState::flags`] |
///
/// A reading that could not be taken is unknown, and so is a flag that the host does not give. Where
/// the answer hangs on it the expression is unknown, and a policy takes that for a no. It does not
/// hang on it in `true || unknown` and `false && unknown`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Comparison, Operand, Operand),
    Same(bool, Box<Node>, Box<Node>),
    Constant(bool),
    Fact { fact: Fact, column: u32 },
    Flag { name: String, column: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operand {
    Number(f64),
    Quantity { quantity: Quantity, column: u32 },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    Unequal,
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            // Readings and literals are compared as they are: the owner wrote the number.
            Self::Equal => left.total_cmp(&right).is_eq(),
            Self::Unequal => left.total_cmp(&right).is_ne(),
        }
    }
}

/// A reading that is true or false.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fact {
    Charging,
    On(Network),
    Metered,
    ScreenOn,
    Weekend,
}

impl Fact {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "charging" => Self::Charging,
            "ethernet" => Self::On(Network::Ethernet),
            "wifi" => Self::On(Network::Wifi),
            "cellular" => Self::On(Network::Cellular),
            "offline" => Self::On(Network::Offline),
            "metered" => Self::Metered,
            "screen_on" => Self::ScreenOn,
            "weekend" => Self::Weekend,
            _ => return None,
        })
    }

    fn read(self, state: &DeviceState) -> Option<bool> {
        match self {
            Self::Charging => match state.battery {
                Battery::Unknown => None,
                Battery::Absent => Some(true),
                Battery::Present { charging, .. } => Some(charging),
            },
            Self::On(network) => {
                (state.network != Network::Unknown).then_some(state.network == network)
            }
            Self::Metered => state.metered,
            Self::ScreenOn => state.screen_on,
            Self::Weekend => {
                let day = Weekday::of_day(state.local_day?);
                Some(matches!(day, Weekday::Saturday | Weekday::Sunday))
            }
        }
    }
}

/// A reading that is a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Quantity {
    Battery,
    BatteryCelsius,
    Celsius,
    OwnerLoad,
    Cores,
    MemoryTotal,
    MemoryAvailable,
    IdleSeconds,
    Hour,
    Minute,
    Weekday,
}

impl Quantity {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "battery" => Self::Battery,
            "battery_celsius" => Self::BatteryCelsius,
            "celsius" => Self::Celsius,
            "owner_load" => Self::OwnerLoad,
            "cores" => Self::Cores,
            "memory_total_mib" => Self::MemoryTotal,
            "memory_available_mib" => Self::MemoryAvailable,
            "idle_seconds" => Self::IdleSeconds,
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "weekday" => Self::Weekday,
            _ => return None,
        })
    }

    fn read(self, state: &DeviceState) -> Option<f64> {
        let mib = |bytes: Option<u64>| bytes.map(|bytes| (bytes >> 20) as f64);
        match self {
            Self::Battery => match state.battery {
                Battery::Unknown => None,
                Battery::Absent => Some(100.0),
                Battery::Present { level_percent, .. } => Some(level_percent),
            },
            Self::BatteryCelsius => state.battery_temperature_celsius,
            Self::Celsius => state.temperature_celsius,
            Self::OwnerLoad => state.cpu_load.map(|load| load * 100.0),
            Self::Cores => state.cpu_cores.map(f64::from),
            Self::MemoryTotal => mib(state.memory_total_bytes),
            Self::MemoryAvailable => mib(state.memory_available_bytes),
            Self::IdleSeconds => state.user_idle.map(|idle| idle.as_secs_f64()),
            Self::Hour => state.minute_of_day.map(|minute| f64::from(minute / 60)),
            Self::Minute => state.minute_of_day.map(f64::from),
            Self::Weekday => state
                .local_day
                .map(|day| f64::from(Weekday::of_day(day).number())),
        }
        // A reading that is no number decides nothing.
        .filter(|value| !value.is_nan())
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// [`ExpressionError`] with the column of what is wrong.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(ExpressionError::TooLong {
                bytes: text.len(),
                bytes_max: EXPRESSION_BYTES_MAX,
            });
        }
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Err(ExpressionError::Empty);
        }
        let mut parser = Parser {
            tokens: &tokens,
            at: 0,
            depth: 0,
            end: text.chars().count() + 1,
        };
        let root = parser.or()?;
        if parser.at < tokens.len() {
            return Err(parser.expected(Expected::OperatorOrEnd));
        }
        Ok(Self {
            text: text.to_owned(),
            root: root.condition()?,
        })
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds for a device.
    #[must_use]
    pub fn evaluate(&self, state: &DeviceState) -> Truth {
        self.root.evaluate(state)
    }

    /// The flags of the host that it names, in the order in which they stand, repeated ones too.
    #[must_use]
    pub fn flags(&self) -> Vec<&str> {
        let mut flags = Vec::new();
        self.root.flags(&mut flags);
        flags
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Node {
    fn evaluate(&self, state: &DeviceState) -> Truth {
        let known = |value: Option<bool>, column| match value {
            Some(true) => Truth::Yes,
            Some(false) => Truth::No,
            None => Truth::Unknown { column },
        };
        match self {
            Self::Or(left, right) => match left.evaluate(state) {
                Truth::Yes => Truth::Yes,
                Truth::No => right.evaluate(state),
                unknown => match right.evaluate(state) {
                    Truth::Yes => Truth::Yes,
                    _ => unknown,
                },
            },
            Self::And(left, right) => match left.evaluate(state) {
                Truth::No => Truth::No,
                Truth::Yes => right.evaluate(state),
                unknown => match right.evaluate(state) {
                    Truth::No => Truth::No,
                    _ => unknown,
                },
            },
            Self::Not(inner) => match inner.evaluate(state) {
                Truth::Yes => Truth::No,
                Truth::No => Truth::Yes,
                unknown => unknown,
            },
            Self::Same(same, left, right) => match (left.evaluate(state), right.evaluate(state)) {
                (unknown @ Truth::Unknown { .. }, _) | (_, unknown @ Truth::Unknown { .. }) => {
                    unknown
                }
                (left, right) => known(Some((left == right) == *same), 0),
            },
            Self::Compare(comparison, left, right) => match (left.read(state), right.read(state)) {
                (Ok(left), Ok(right)) => known(Some(comparison.holds(left, right)), 0),
                (Err(column), _) | (_, Err(column)) => Truth::Unknown { column },
            },
            Self::Constant(value) => known(Some(*value), 0),
            Self::Fact { fact, column } => known(fact.read(state), *column),
            Self::Flag { name, column } => known(state.flags.get(name).copied(), *column),
        }
    }

    fn flags<'a>(&'a self, flags: &mut Vec<&'a str>) {
        match self {
            Self::Or(left, right) | Self::And(left, right) | Self::Same(_, left, right) => {
                left.flags(flags);
                right.flags(flags);
            }
            Self::Not(inner) => inner.flags(flags),
            Self::Flag { name, .. } => flags.push(name),
            Self::Compare(..) | Self::Constant(_) | Self::Fact { .. } => {}
        }
    }
}

impl Operand {
    /// Its value, or the column of the reading that is unknown.
    fn read(self, state: &DeviceState) -> Result<f64, u32> {
        match self {
            Self::Number(value) => Ok(value),
            Self::Quantity { quantity, column } => quantity.read(state).ok_or(column),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lexeme<'a> {
    Name(&'a str),
    Number(f64),
    Compare(Comparison),
    Or,
    And,
    Not,
    Open,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Token<'a> {
    lexeme: Lexeme<'a>,
    column: usize,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, ExpressionError> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().enumerate().peekable();
    while let Some((index, (start, character))) = rest.next() {
        let column = index + 1;
        // Takes what belongs to the word that `character` begins, and tells where it ends.
        let mut end_of_word = |is_part: fn(char) -> bool| {
            let mut end = start + character.len_utf8();
            while let Some((_, (at, next))) = rest.peek().copied() {
                if !is_part(next) {
                    break;
                }
                end = at + next.len_utf8();
                rest.next();
            }
            end
        };
        let lexeme = match character {
            ' ' | '\t' | '\n' | '\r' => continue,
            'a'..='z' | 'A'..='Z' | '_' => {
                let end = end_of_word(|next| next.is_ascii_alphanumeric() || next == '_');
                let name = &text[start..end];
                if name.len() > FLAG_BYTES_MAX {
                    return Err(ExpressionError::NameTooLong {
                        column,
                        bytes_max: FLAG_BYTES_MAX,
                    });
                }
                Lexeme::Name(name)
            }
            '0'..='9' | '-' | '.' => {
                let end = end_of_word(|next| next.is_ascii_digit() || next == '.');
                let number: Option<f64> = text[start..end].parse().ok();
                match number.filter(|number| number.is_finite()) {
                    // Zero has one sign here, so that `-0 == 0` holds.
                    Some(number) => Lexeme::Number(number + 0.0),
                    None => return Err(ExpressionError::Number { column }),
                }
            }
            '(' => Lexeme::Open,
            ')' => Lexeme::Close,
            '&' | '|' | '=' => match rest.next_if(|(_, (_, next))| *next == character) {
                Some(_) if character == '&' => Lexeme::And,
                Some(_) if character == '|' => Lexeme::Or,
                Some(_) => Lexeme::Compare(Comparison::Equal),
                None => {
                    return Err(ExpressionError::Expected {
                        column: column + 1,
                        expected: Expected::SecondHalf,
                    });
                }
            },
            '!' | '<' | '>' => {
                let with_equal = rest.next_if(|(_, (_, next))| *next == '=').is_some();
                match (character, with_equal) {
                    ('!', false) => Lexeme::Not,
                    ('!', true) => Lexeme::Compare(Comparison::Unequal),
                    ('<', false) => Lexeme::Compare(Comparison::Less),
                    ('<', true) => Lexeme::Compare(Comparison::LessOrEqual),
                    (_, false) => Lexeme::Compare(Comparison::Greater),
                    (_, true) => Lexeme::Compare(Comparison::GreaterOrEqual),
                }
            }
            character => return Err(ExpressionError::Character { column, character }),
        };
        tokens.push(Token { lexeme, column });
    }
    Ok(tokens)
}

/// A part of an expression whose kind is still open.
struct Part {
    column: usize,
    value: Value,
}

enum Value {
    Condition(Node),
    Number(Operand),
}

impl Part {
    fn condition(self) -> Result<Node, ExpressionError> {
        match self.value {
            Value::Condition(node) => Ok(node),
            Value::Number(_) => Err(ExpressionError::Kind {
                column: self.column,
                expected: Kind::Condition,
                found: Kind::Number,
            }),
        }
    }

    fn number(self) -> Result<Operand, ExpressionError> {
        match self.value {
            Value::Number(operand) => Ok(operand),
            Value::Condition(_) => Err(ExpressionError::Kind {
                column: self.column,
                expected: Kind::Number,
                found: Kind::Condition,
            }),
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
    /// Column after the last character.
    end: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<Lexeme<'_>> {
        self.tokens.get(self.at).map(|token| token.lexeme)
    }

    fn column(&self) -> usize {
        self.tokens
            .get(self.at)
            .map_or(self.end, |token| token.column)
    }

    fn take(&mut self, lexeme: Lexeme<'_>) -> bool {
        let found = self.peek() == Some(lexeme);
        self.at += usize::from(found);
        found
    }

    fn expected(&self, expected: Expected) -> ExpressionError {
        ExpressionError::Expected {
            column: self.column(),
            expected,
        }
    }

    fn deeper(&mut self) -> Result<(), ExpressionError> {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            return Err(ExpressionError::TooDeep {
                column: self.column(),
                depth_max: EXPRESSION_DEPTH_MAX,
            });
        }
        Ok(())
    }

    fn or(&mut self) -> Result<Part, ExpressionError> {
        self.chain(Lexeme::Or, Self::and, Node::Or)
    }

    fn and(&mut self) -> Result<Part, ExpressionError> {
        self.chain(Lexeme::And, Self::not, Node::And)
    }

    /// Operands of one operator, grouped from the right so that a long chain is evaluated left to
    /// right and its depth is bounded by the length of the text.
    fn chain(
        &mut self,
        operator: Lexeme<'_>,
        operand: fn(&mut Self) -> Result<Part, ExpressionError>,
        join: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Result<Part, ExpressionError> {
        let column = self.column();
        let first = operand(self)?;
        if self.peek() != Some(operator) {
            return Ok(first);
        }
        let mut nodes = vec![first.condition()?];
        while self.take(operator) {
            nodes.push(operand(self)?.condition()?);
        }
        let last = nodes.pop().expect("a chain has two operands at least");
        let node = nodes
            .into_iter()
            .rev()
            .fold(last, |right, left| join(Box::new(left), Box::new(right)));
        Ok(Part {
            column,
            value: Value::Condition(node),
        })
    }

    fn not(&mut self) -> Result<Part, ExpressionError> {
        let column = self.column();
        if !self.take(Lexeme::Not) {
            return self.comparison();
        }
        self.deeper()?;
        let inner = self.not()?.condition()?;
        self.depth -= 1;
        Ok(Part {
            column,
            value: Value::Condition(Node::Not(Box::new(inner))),
        })
    }

    fn comparison(&mut self) -> Result<Part, ExpressionError> {
        let column = self.column();
        let left = self.operand()?;
        let Some(Lexeme::Compare(comparison)) = self.peek() else {
            return Ok(left);
        };
        self.at += 1;
        let right = self.operand()?;
        let node = match (comparison, left.value) {
            (Comparison::Equal | Comparison::Unequal, Value::Condition(node)) => Node::Same(
                comparison == Comparison::Equal,
                Box::new(node),
                Box::new(right.condition()?),
            ),
            (_, value) => {
                let left = Part { column, value }.number()?;
                Node::Compare(comparison, left, right.number()?)
            }
        };
        Ok(Part {
            column,
            value: Value::Condition(node),
        })
    }

    fn operand(&mut self) -> Result<Part, ExpressionError> {
        let column = self.column();
        let place = u32::try_from(column).expect("an expression is a kilobyte at most");
        let value = match self.peek() {
            Some(Lexeme::Number(number)) => Value::Number(Operand::Number(number)),
            Some(Lexeme::Name("true")) => Value::Condition(Node::Constant(true)),
            Some(Lexeme::Name("false")) => Value::Condition(Node::Constant(false)),
            Some(Lexeme::Name(name)) => {
                if let Some(quantity) = Quantity::from_name(name) {
                    Value::Number(Operand::Quantity {
                        quantity,
                        column: place,
                    })
                } else if let Some(fact) = Fact::from_name(name) {
                    Value::Condition(Node::Fact {
                        fact,
                        column: place,
                    })
                } else {
                    Value::Condition(Node::Flag {
                        name: name.to_owned(),
                        column: place,
                    })
                }
            }
            Some(Lexeme::Open) => {
                self.at += 1;
                self.deeper()?;
                let inner = self.or()?;
                self.depth -= 1;
                if !self.take(Lexeme::Close) {
                    return Err(self.expected(Expected::ClosingBracket));
                }
                return Ok(Part {
                    column,
                    value: inner.value,
                });
            }
            _ => return Err(self.expected(Expected::Operand)),
        };
        self.at += 1;
        Ok(Part { column, value })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fogcompute_base::Instant;
    use proptest::prelude::*;

    use super::*;
    use crate::DeviceClass;

    fn laptop() -> DeviceState {
        let mut state = DeviceState {
            cpu_cores: Some(8),
            cpu_load: Some(0.25),
            memory_total_bytes: Some(8 << 30),
            memory_available_bytes: Some(4 << 30),
            battery: Battery::Present {
                level_percent: 40.0,
                charging: true,
            },
            battery_temperature_celsius: Some(30.0),
            temperature_celsius: Some(-5.0),
            network: Network::Wifi,
            metered: Some(false),
            screen_on: Some(true),
            user_idle: Some(Duration::from_secs(90)),
            minute_of_day: Some(22 * 60 + 30),
            // 2026-11-21, a Saturday.
            local_day: Some(20_778),
            ..DeviceState::unknown(DeviceClass::Laptop, Instant::ZERO)
        };
        state.flags.insert("on_call".to_owned(), false);
        state.flags.insert("docked".to_owned(), true);
        state
    }

    fn says(text: &str) -> Truth {
        Expression::parse(text).unwrap().evaluate(&laptop())
    }

    #[test]
    fn readings_and_flags_are_compared_and_joined() {
        for (text, expected) in [
            ("battery > 30 && !on_call", true),
            ("battery>30&&!on_call", true),
            ("battery >= 40", true),
            ("battery > 40", false),
            ("battery != 40", false),
            ("30 < battery", true),
            ("celsius == -5", true),
            ("celsius <= -5.5", false),
            ("owner_load == 25 && cores == 8", true),
            (
                "memory_total_mib == 8192 && memory_available_mib == 4096",
                true,
            ),
            ("wifi && !ethernet && !cellular && !offline", true),
            ("metered || screen_on", true),
            ("idle_seconds < 60", false),
            ("hour == 22 && minute == 1350", true),
            ("weekday == 6 && weekend", true),
            ("!(charging && docked)", false),
            ("!!docked", true),
            ("docked == charging", true),
            ("docked != on_call", true),
            ("(battery) < (((50)))", true),
            ("battery < 10 || charging && battery_celsius < 35", true),
            ("(battery < 10 || charging) && battery_celsius > 35", false),
            ("-0 == 0", true),
            ("true\n&&\ttrue", true),
            ("false", false),
        ] {
            let expected = if expected { Truth::Yes } else { Truth::No };
            assert_eq!(says(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_unknown_is_unknown_unless_the_rest_decides() {
        let unknown = |text: &str| {
            let state = DeviceState::unknown(DeviceClass::Phone, Instant::ZERO);
            Expression::parse(text).unwrap().evaluate(&state)
        };
        for (text, column) in [
            ("battery > 30", 1),
            ("!on_call", 2),
            ("30 < celsius", 6),
            ("true && metered", 9),
            ("false || weekend", 10),
            ("wifi == true", 1),
            ("true == wifi", 9),
            ("cores > 1 || screen_on", 1),
            ("cores > 1 && screen_on", 1),
            ("battery == battery", 1),
        ] {
            assert_eq!(unknown(text), Truth::Unknown { column }, "{text}");
        }
        assert_eq!(unknown("wifi || true"), Truth::Yes);
        assert_eq!(unknown("wifi && false"), Truth::No);
    }

    #[test]
    fn a_reading_that_is_no_number_decides_nothing() {
        let state = DeviceState {
            temperature_celsius: Some(f64::NAN),
            ..laptop()
        };
        let cool = Expression::parse("!(celsius > 50)").unwrap();
        assert_eq!(cool.evaluate(&state), Truth::Unknown { column: 3 });
    }

    #[test]
    fn a_device_without_a_battery_is_full_and_connected() {
        let state = DeviceState {
            battery: Battery::Absent,
            ..laptop()
        };
        let full = Expression::parse("battery == 100 && charging").unwrap();
        assert_eq!(full.evaluate(&state), Truth::Yes);
    }

    #[test]
    fn mistakes_are_named_with_their_column() {
        let expected = |column, expected| ExpressionError::Expected { column, expected };
        let kind = |column, expected, found| ExpressionError::Kind {
            column,
            expected,
            found,
        };
        for (text, error) in [
            ("", ExpressionError::Empty),
            (" \t ", ExpressionError::Empty),
            ("battery >", expected(10, Expected::Operand)),
            ("&& wifi", expected(1, Expected::Operand)),
            ("wifi &", expected(7, Expected::SecondHalf)),
            ("wifi | x", expected(7, Expected::SecondHalf)),
            ("battery = 3", expected(10, Expected::SecondHalf)),
            ("(wifi", expected(6, Expected::ClosingBracket)),
            ("wifi)", expected(5, Expected::OperatorOrEnd)),
            ("wifi metered", expected(6, Expected::OperatorOrEnd)),
            ("1 < 2 < 3", expected(7, Expected::OperatorOrEnd)),
            ("battery", kind(1, Kind::Condition, Kind::Number)),
            ("!battery", kind(2, Kind::Condition, Kind::Number)),
            ("wifi && 3", kind(9, Kind::Condition, Kind::Number)),
            ("batery > 30", kind(1, Kind::Number, Kind::Condition)),
            ("30 < batery", kind(6, Kind::Number, Kind::Condition)),
            ("wifi == 3", kind(9, Kind::Condition, Kind::Number)),
            ("1.2.3 < battery", ExpressionError::Number { column: 1 }),
            ("battery > -", ExpressionError::Number { column: 11 }),
            (
                "ü && batterie",
                ExpressionError::Character {
                    column: 1,
                    character: 'ü',
                },
            ),
            (
                "wifi ; metered",
                ExpressionError::Character {
                    column: 6,
                    character: ';',
                },
            ),
        ] {
            assert_eq!(Expression::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn length_and_depth_have_limits() {
        let nested = |depth: usize| format!("{}wifi{}", "(".repeat(depth), ")".repeat(depth));
        assert!(Expression::parse(&nested(EXPRESSION_DEPTH_MAX)).is_ok());
        assert_eq!(
            Expression::parse(&nested(EXPRESSION_DEPTH_MAX + 1)),
            Err(ExpressionError::TooDeep {
                column: EXPRESSION_DEPTH_MAX + 2,
                depth_max: EXPRESSION_DEPTH_MAX
            })
        );
        let negated = |depth: usize| format!("{}wifi", "!".repeat(depth));
        assert!(Expression::parse(&negated(EXPRESSION_DEPTH_MAX)).is_ok());
        assert!(Expression::parse(&negated(EXPRESSION_DEPTH_MAX + 1)).is_err());
        // Brackets that close again are no depth.
        let many = vec!["(wifi)"; 100].join("||");
        assert!(Expression::parse(&many).is_ok());
        let long = "x".repeat(FLAG_BYTES_MAX + 1);
        assert_eq!(
            Expression::parse(&long),
            Err(ExpressionError::NameTooLong {
                column: 1,
                bytes_max: FLAG_BYTES_MAX
            })
        );
        let spaces = " ".repeat(EXPRESSION_BYTES_MAX + 1);
        assert!(matches!(
            Expression::parse(&spaces),
            Err(ExpressionError::TooLong { .. })
        ));
    }

    #[test]
    fn the_flags_that_a_host_must_give_are_listed() {
        let expression = Expression::parse("on_call || battery < 3 || !(docked && wifi)").unwrap();
        assert_eq!(expression.flags(), ["on_call", "docked"]);
    }

    proptest! {
        #[test]
        fn any_text_is_an_expression_or_a_typed_error(text in ".{0,60}") {
            if let Ok(expression) = Expression::parse(&text) {
                prop_assert_eq!(expression.as_str(), text.as_str());
                let _ = expression.evaluate(&laptop());
            }
        }

        #[test]
        fn a_negation_turns_the_answer_and_keeps_the_unknown(
            text in "(wifi|metered|battery > 30|x)( (&&|\\|\\|) (wifi|!metered|celsius < 3|y)){0,4}",
        ) {
            let plain = says(&text);
            let negated = says(&format!("!({text})"));
            prop_assert_eq!(
                match plain {
                    Truth::Yes => negated == Truth::No,
                    Truth::No => negated == Truth::Yes,
                    Truth::Unknown { .. } => matches!(negated, Truth::Unknown { .. }),
                },
                true
            );
        }
    }
}
