//! The verb `enroll`.

use std::fs;
use std::path::{Path, PathBuf};

use log::warn;

use super::key;
use super::sync::deadline;
use crate::cli;
use crate::config::{CONFIG_FILE, Config, Key};
use crate::enroll::{Change, Settings, machine};
use crate::error::{Error, Result};
use crate::follow::Follow;
use crate::loader::Loader;
use crate::pool::Pool;
use crate::preview::{Preview, PreviewOptions, preview};
use crate::running;
use crate::sys::mount;

/// How long the store may take to answer, in seconds.
const PATIENCE: u64 = 60;

pub fn run_enroll(options: &cli::Enroll) -> Result<()> {
    machine::check_is_plain()?;
    let change = Change::to_clone(&settings(options)?)?;
    let config = change.after();
    let pool = Pool::at(&Path::new("/").join(&config.pool));
    let follow = Follow::new(&config, deadline(Some(PATIENCE)), pool.root())?;
    if follow.need.is_none() {
        return Err(Error::Usage(format!(
            "{}: a boot asks its store over the network, at http://… or https://…",
            options.store
        )));
    }
    let kind = match &config.pool_device {
        None => machine::file_system()?,
        Some(device) => device,
    };
    let look = PreviewOptions {
        location: &follow.location,
        key: &follow.key,
        model: follow.model.as_deref(),
        paths: false,
    };
    let coming = preview(&pool, &*follow.store, &look)?;
    let kernel = running::kernel().unwrap_or_default();
    print!("model:   {}\n{}", coming.model, coming.text());
    println!(
        "machine: Linux {kernel}, {}, {}, pool on {kind}",
        change.generator.name,
        machine::secure_boot()
    );
    say_boot_loader(&coming, &kernel);
    check(&coming, &kernel, &config, &pool)?;
    if options.dry_run {
        println!(
            "would write {CONFIG_FILE} and run `{}`:",
            change.generator.command()
        );
        print!("{}", change.new.as_deref().unwrap_or_default());
        return Ok(());
    }
    change.make()?;
    println!(
        "this machine is a clone from its next boot on; with reclone=off on the kernel command line it boots as it is now"
    );
    Ok(())
}

/// Says who will start the model's kernels, and whether they will find room.
fn say_boot_loader(coming: &Preview, kernel: &str) {
    let look = || -> Result<_> {
        mount::part()?;
        let loader = Loader::find(Path::new("/"))?;
        let room = match coming.kernels.newest_after(kernel) {
            Some((release, bytes)) => loader.check_room_for(release, bytes),
            None => Ok(()),
        };
        Ok((loader.title(), loader.free()? >> 20, room))
    };
    match look() {
        Err(error) => println!("loader:  none that gets the model's kernels: {error}"),
        Ok((title, free, room)) => {
            println!("loader:  {title}, {free} MiB free for the model's kernels");
            if let Err(error) = room {
                warn!("{error}");
            }
        }
    }
}

/// Says what will not be as expected; fails where there is no room.
fn check(coming: &Preview, kernel: &str, config: &Config, pool: &Pool) -> Result<()> {
    let mut known = coming.kernels.with_modules.iter();
    if known.len() > 0 && !known.any(|it| it == kernel) {
        warn!(
            "the model has no modules of this machine's kernel {kernel}: each boot has to start the generation's own after it, until the boot loader has that; a kernel of the model's in this machine's /boot saves it"
        );
    }
    if config.pool_device.is_none() && coming.space > coming.free {
        return Err(Error::Full {
            path: pool.root().into(),
            needed: coming.space >> 20,
            free: coming.free >> 20,
        });
    }
    Ok(())
}

/// What the options say, in the words of the configuration. Files must be where the initramfs gets them from.
fn settings(options: &cli::Enroll) -> Result<Settings> {
    let file = |option: &str, path: &Option<PathBuf>| -> Result<Option<String>> {
        let Some(path) = path else { return Ok(None) };
        let folder = Path::new(CONFIG_FILE).parent().unwrap_or(path);
        match path
            .strip_prefix(folder)
            .is_ok_and(|rest| rest.is_relative())
        {
            true => Ok(path.to_str().map(str::to_owned)),
            false => Err(Error::Usage(format!(
                "{option} {}: put the file into {}, which the initramfs takes along",
                path.display(),
                folder.display()
            ))),
        }
    };
    let known = [
        ("store", Some(options.store.clone())),
        ("key", Some(key_line(&options.key)?)),
        ("model", options.model.clone()),
        ("ca", file("--ca", &options.ca)?),
        ("pin", options.pin.clone()),
        ("token-file", file("--token-file", &options.token_file)?),
        ("proxy", options.proxy.clone()),
    ];
    let mut settings = Settings::new();
    for (name, value) in known {
        let Some(value) = value else { continue };
        let mut config = Config::default();
        let line = format!("{name} = {value}");
        let complaints = config.read_file(Path::new("command line"), line.as_bytes());
        if let Some(complaint) = complaints.first() {
            return Err(Error::Usage(complaint.to_string()));
        }
        settings.push((name, value));
    }
    Ok(settings)
}

/// The line of a key in base64, from a file or as it is given.
fn key_line(given: &str) -> Result<String> {
    match key(given) {
        Key::Text(text) => Ok(text),
        Key::File(path) => {
            let text =
                fs::read_to_string(&path).map_err(Error::system("can not read the key", &path))?;
            Ok(text.trim().lines().last().unwrap_or_default().to_owned())
        }
    }
}
