//! The verb `loader`.

use super::{open_pool, say};
use crate::cli;
use crate::error::{Error, Result};
use crate::firmware::Variables;
use crate::loader::{self, Asked, Put};

pub fn run_loader(options: &cli::Loader) -> Result<()> {
    if options.first {
        return put_first(options);
    }
    let pool = open_pool(options.pool.as_ref())?;
    let asked = match options.proven {
        true => Asked::ByBoot,
        false => Asked::ByHand,
    };
    let (loader, put) = loader::put(&pool, asked, options.dry_run)?;
    let (outcome, verb) = match put {
        Put::Stands => ("stands", "starts"),
        Put::Done => ("put", "starts from now on"),
        Put::Would => ("would-put", "would start"),
    };
    let entries = loader.entries()?;
    let mut value = loader::json(loader.title(), &entries);
    value["outcome"] = outcome.into();
    let (title, kernel) = (loader.title(), loader::words(&entries));
    let words = match put {
        Put::Would => format!("{title} {verb} the generation's kernel; now it starts {kernel}"),
        _ => format!("{title} {verb} {kernel}"),
    };
    say(options.json, &value, &words);
    Ok(())
}

/// Has the firmware start first what started this machine.
fn put_first(options: &cli::Loader) -> Result<()> {
    let variables = Variables::find();
    let found = variables.and_then(|it| it.order().map(|order| (it, order)));
    let (variables, mut order) = found.ok_or_else(|| {
        Error::Loader("this machine's firmware does not tell what started it: change its boot order in its own setup".into())
    })?;
    let outcome = match (order.is_first(), options.dry_run) {
        (true, _) => "stands",
        (false, true) => "would-put",
        (false, false) => {
            order = variables.put_first(&order)?;
            "put"
        }
    };
    let mut value = order.json();
    value["outcome"] = outcome.into();
    say(options.json, &value, &order.words());
    Ok(())
}
