//! Who paid whom.

use std::fmt::Write as _;

use super::svg::{aligned, counted, decimals, esc, n, rounded};
use crate::report::{LedgerReport, Report};

pub(super) fn section(report: &Report) -> String {
    let ledger = &report.ledger;
    let balanced = ledger.sum == "0";
    let mut text = String::from(
        "<section id=\"ledger\" aria-labelledby=\"ledger-title\">\
         <h2 id=\"ledger-title\">The ledger</h2>",
    );
    let _ = write!(
        text,
        "<p class=\"lead\">The owner began with {} credits. Before any tile was sent its highest \
         price was reserved; each tile that came back was paid by the fuel it burnt, {} credits \
         together; the other {} were released.</p>",
        esc(&rounded(&ledger.endowment)),
        esc(&rounded(&ledger.paid)),
        esc(&rounded(&ledger.released))
    );
    text.push_str("<div class=\"books\">");
    text.push_str(&balances(ledger));
    text.push_str("<div>");
    text.push_str(&reserved(ledger));
    let _ = write!(
        text,
        "<p class=\"verdict {}\"><strong>{}</strong> <span>{}</span></p>",
        if balanced { "good" } else { "bad" },
        if balanced {
            "✓ The books balance"
        } else {
            "✗ The books do not balance"
        },
        if balanced {
            "What the mint issued is what all others have, to the last base unit.".to_owned()
        } else {
            format!("All balances together are {} base units.", esc(&ledger.sum))
        }
    );
    let _ = write!(
        text,
        "<p class=\"digest\"><span>End of the chain of entries</span> <code>{}</code></p>\
         </div></div>",
        esc(&ledger.chain)
    );
    text.push_str(&entries(ledger));
    text.push_str("</section>");
    text
}

/// The reservation as a bar: what was paid of it, and what went back.
fn reserved(ledger: &LedgerReport) -> String {
    // Only the length of a bar: amounts are shown as they came.
    let length = |credits: &str| {
        credits
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite() && *value >= 0.0)
    };
    let (Some(paid), Some(released)) = (length(&ledger.paid), length(&ledger.released)) else {
        return String::new();
    };
    if paid + released <= 0.0 {
        return String::new();
    }
    let share = paid / (paid + released) * 100.0;
    format!(
        "<h3>What was reserved</h3><figure class=\"reserved\"><svg viewBox=\"0 0 100 3\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{share:.0} % of the reserved \
         credits were paid, the rest was released\"><rect class=\"released\" width=\"100\" \
         height=\"3\"></rect><rect class=\"bar\" width=\"{}\" height=\"3\"></rect></svg>\
         <figcaption><span><i class=\"swatch paid\"></i>paid {share:.0} %</span>\
         <span><i class=\"swatch back\"></i>released {:.0} %</span></figcaption></figure>",
        n(share),
        100.0 - share
    )
}

fn balances(ledger: &LedgerReport) -> String {
    if ledger.balances.is_empty() {
        return String::from("<p class=\"empty\">No account was opened.</p>");
    }
    let amounts = || ledger.balances.iter().map(|row| rounded(&row.credits));
    let places = decimals(amounts());
    let mut text = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Balances\"><table>\
         <caption>Balances at the end, to a thousandth of a credit</caption><thead><tr><th scope=\"col\">Account\
         </th><th scope=\"col\" class=\"num\">Credits</th></tr></thead><tbody>",
    );
    let mut rows: Vec<_> = ledger.balances.iter().collect();
    rows.sort_by_key(|row| order(&row.account));
    for row in rows {
        let _ = write!(
            text,
            "<tr><th scope=\"row\">{}<small>{}</small></th><td class=\"num\">{}</td></tr>",
            esc(&row.account),
            meaning(&row.account),
            aligned(&rounded(&row.credits), places)
        );
    }
    let _ = write!(
        text,
        "</tbody><tfoot><tr><th scope=\"row\">Sum</th><td class=\"num\">{}</td></tr></tfoot>\
         </table></div>",
        // A sum that is not zero is in base units, and said so above.
        if ledger.sum == "0" {
            aligned("0", places)
        } else {
            format!("{} base units", esc(&ledger.sum))
        }
    );
    text
}

/// What an account is for, where its name does not say it.
fn meaning(account: &str) -> &'static str {
    match account {
        "mint" => "issued what the owner began with",
        "clearing" => "payments pass through it to the nodes",
        "owner" => "pays for the picture",
        _ => "",
    }
}

/// Numbers in names count as numbers, so that `compute 10` follows `compute 9`.
fn order(name: &str) -> (String, u64) {
    let letters = name.trim_end_matches(|last: char| last.is_ascii_digit());
    let number = name[letters.len()..].parse().unwrap_or(u64::MAX);
    (letters.to_owned(), number)
}

fn entries(ledger: &LedgerReport) -> String {
    let number = counted(ledger.entries.len(), "entry");
    if ledger.entries.is_empty() {
        return String::from("<p class=\"empty\">Nothing was entered.</p>");
    }
    let places = decimals(ledger.entries.iter().map(|row| row.credits.as_str()));
    let mut text = format!(
        "<details><summary>All {number}</summary><p>A <em>reserve</em> sets credits aside, a \
         <em>post</em> takes the payment from them and frees the rest, a <em>void</em> or \
         <em>expire</em> frees them all.</p><div class=\"scroll tall\" tabindex=\"0\" \
         role=\"region\" aria-label=\"Entries\"><table><thead><tr>\
         <th scope=\"col\" class=\"num\">No.</th><th scope=\"col\">What</th>\
         <th scope=\"col\">From</th><th scope=\"col\">To</th>\
         <th scope=\"col\" class=\"num\">Credits</th></tr></thead><tbody>"
    );
    for row in &ledger.entries {
        let amount = if row.credits.is_empty() {
            String::new()
        } else {
            aligned(&row.credits, places)
        };
        let _ = write!(
            text,
            "<tr><td class=\"num\">{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"num\">{amount}</td></tr>",
            row.sequence,
            esc(&row.kind),
            esc(&row.from),
            esc(&row.to)
        );
    }
    text.push_str("</tbody></table></div></details>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report_page::fixture;

    #[test]
    fn every_balance_and_entry_is_listed_and_the_sum_is_zero() {
        let report = fixture::report(4, 12);
        let page = section(&report);
        assert!(page.contains("✓ The books balance"));
        assert_eq!(
            page.matches("<tr><th scope=\"row\">").count(),
            report.ledger.balances.len() + 1
        );
        assert_eq!(
            page.matches("<tr><td class=\"num\">").count(),
            report.ledger.entries.len()
        );
    }

    #[test]
    fn books_that_do_not_balance_are_called_so() {
        let mut report = fixture::report(2, 2);
        report.ledger.sum = "-5".to_owned();
        let page = section(&report);
        assert!(page.contains("✗ The books do not balance") && page.contains("-5 base units"));
    }

    #[test]
    fn an_empty_ledger_and_amounts_that_are_none_are_shown() {
        let mut report = fixture::report(2, 2);
        report.ledger.entries.clear();
        report.ledger.balances.clear();
        report.ledger.paid = "<many>".to_owned();
        let page = section(&report);
        fixture::assert_well_formed(&page);
        assert!(page.contains("Nothing was entered") && page.contains("No account"));
        assert!(!page.contains("class=\"reserved\""));
    }

    #[test]
    fn accounts_are_in_the_order_of_their_numbers() {
        let mut names = ["owner", "compute 10", "mint", "compute 9"];
        names.sort_by_key(|name| order(name));
        assert_eq!(names, ["compute 9", "compute 10", "mint", "owner"]);
    }
}
