//! Durations as users write them: hours, minutes and seconds.

use chrono::TimeDelta;

/// Nothing that the operator waits for is longer.
const LONGEST: TimeDelta = TimeDelta::days(3650);

/// Reads `1h30m`, `15m`, `90s`: each unit at most once, in this order, ten years at most.
pub fn parse(text: &str) -> Option<TimeDelta> {
    let mut rest = text;
    let mut seconds: i64 = 0;
    for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((number, tail)) = rest.split_once(unit) {
            seconds = seconds.checked_add(number.parse::<u32>().ok().map(i64::from)?.checked_mul(factor)?)?;
            rest = tail;
        }
    }
    let duration = TimeDelta::seconds(seconds);
    (rest.is_empty() && !text.is_empty() && duration <= LONGEST).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_hours_minutes_and_seconds() {
        assert_eq!(parse("15m"), Some(TimeDelta::minutes(15)));
        assert_eq!(parse("1h30m"), Some(TimeDelta::minutes(90)));
        assert_eq!(parse("1h1m1s"), Some(TimeDelta::seconds(3661)));
        for wrong in ["", "15", "m", "1d", "1m1h", "-1m", "1.5h", "4294967295h"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
