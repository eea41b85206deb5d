//! Resource quantities (`500m`, `2Gi`) as numbers, for the variables and files that quote a container's resources.

/// The value in units of `divisor`, rounded up as a kubelet does. `None` if either cannot be read.
pub(super) fn divided(quantity: &str, divisor: &str) -> Option<i64> {
    let (value, divisor) = (millis(quantity)?, millis(divisor)?);
    (divisor > 0).then(|| i64::try_from((value + divisor - 1).div_euclid(divisor)).ok())?
}

/// Thousandths, rounded up.
fn millis(quantity: &str) -> Option<i128> {
    let split = quantity.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let numerator: i128 = format!("{whole}{fraction}").parse().ok()?;
    let denominator = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    // The factor in thousandths; powers of ten below one are exact down to "m".
    let thousandths: i128 = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "Ki" => 1_000 << 10,
        "M" => 1_000_000_000,
        "Mi" => 1_000 << 20,
        "G" => 1_000_000_000_000,
        "Gi" => 1_000 << 30,
        "T" => 1_000_000_000_000_000,
        "Ti" => 1_000 << 40,
        "P" => 1_000_000_000_000_000_000,
        "Pi" => 1_000 << 50,
        _ => return None,
    };
    let product = numerator.checked_mul(thousandths)?;
    Some((product + denominator - 1).div_euclid(denominator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_divided_and_rounded_up() {
        let cases = [
            ("2Gi", "1", Some(2 << 30)),
            ("2Gi", "1Mi", Some(2048)),
            ("500m", "1", Some(1)),
            ("1500m", "1", Some(2)),
            ("1500m", "1m", Some(1500)),
            ("0.5", "1m", Some(500)),
            ("1.5Gi", "1Mi", Some(1536)),
            ("1M", "1k", Some(1000)),
            ("0", "1", Some(0)),
            ("1e3", "1", None),
            ("", "1", None),
            ("1", "0", None),
        ];
        for (quantity, divisor, expected) in cases {
            assert_eq!(divided(quantity, divisor), expected, "{quantity} / {divisor}");
        }
    }
}
