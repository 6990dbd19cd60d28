//! `reclone-model setup`: what a machine needs to be a model, made where it is missing, and what its owner does next. It asks
//! nothing that it can find out, and changes nothing that is there, so that it can be run again.

pub mod address;
mod policy;
mod servers;
mod unit;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};

use crate::error::{Context, Error, Result};
use crate::keys::{self, Passphrase, Signer};
use crate::store::{Record, Store};

use servers::Server;

/// What to make.
#[derive(Clone, Debug)]
pub struct SetupOptions {
    /// Folder of the store.
    pub store: PathBuf,
    /// The secret key.
    pub key: PathBuf,
    /// Top of the tree that will be published.
    pub from: PathBuf,
    /// The model's name; the one given wins over the machine's.
    pub model: Option<String>,
    /// Where clones will find the store.
    pub url: Option<String>,
    /// The port of the server.
    pub port: u16,
    /// Whether systemd is to run `reclone-model serve`.
    pub serve_unit: bool,
    /// Only say what would be made.
    pub dry_run: bool,
}

/// Stands for a public key that is not made yet.
const NO_KEY_YET: &str = "KEY";

/// Makes what is missing, each thing durably before the next, and gives the text on what to do then; `host` is this machine's
/// name. The last line is the command for the clones.
pub fn setup(options: &SetupOptions, host: &str) -> Result<String> {
    let store = plain(&options.store)?;
    let key = plain(&options.key)?;
    let from = plain(&options.from)?;
    let public = prepare_key(&key, options.dry_run)?;
    prepare_store(&store, &key, &public, options, host)?;
    policy::prepare(&from, &[&key, &store], options.dry_run)?;
    if options.serve_unit {
        unit::prepare(&store, options.port, options.dry_run)?;
    }
    let url = match &options.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}:{}", address::own(host), options.port),
    };
    let mut text = format!(
        "Publish this machine, now and whenever it has changed:\n\n    {}\n\n",
        publish_command(&from, &key, &store)
    );
    text += &serving(&store, options);
    text += "On each clone, as root, once something is published:\n\n";
    text += &format!("reclone enroll {url} --key {public}\n");
    Ok(text)
}

/// The path from the top. It goes into command lines and into the configuration of other programs, so it has to be one that means
/// the same in each of them.
fn plain(path: &Path) -> Result<PathBuf> {
    let path = absolute(path).context("find", path)?;
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+@:,=".contains(byte);
    match path.as_os_str().as_bytes().iter().all(is_plain) {
        true => Ok(path),
        false => Err(Error::Usage(format!(
            "{}: a blank, quote or other letter in it would have to be written differently for each program; name another path",
            path.display()
        ))),
    }
}

/// The public key, of a pair that is made where there is none.
fn prepare_key(key: &Path, dry_run: bool) -> Result<String> {
    if let Some(public) = keys::public_key(key)? {
        log::info!("{} is there", key.display());
        return Ok(public);
    }
    if dry_run {
        log::info!("would make the key pair {0} and {0}.pub", key.display());
        return Ok(NO_KEY_YET.into());
    }
    let is_new = !key.exists();
    let signer = Signer::open_or_create(key, &Passphrase::None)?;
    if is_new {
        log::info!(
            "made the key pair {0} and {0}.pub: keep a copy of {0}, as clones refuse whatever another key signs",
            key.display()
        );
    }
    Ok(signer.public().to_owned())
}

/// Makes the store, or checks that the one that is there is the one wanted.
fn prepare_store(
    path: &Path,
    key: &Path,
    public: &str,
    options: &SetupOptions,
    host: &str,
) -> Result<()> {
    let store = match Store::open(path) {
        Ok(store) => store,
        Err(Error::NotAStore { .. }) => {
            let model = options.model.as_deref().unwrap_or(host).to_owned();
            Store::check_is_free(path)?;
            let made = match options.dry_run {
                true => "would make",
                false => "made",
            };
            if !options.dry_run {
                let key = public.to_owned();
                Store::create(
                    path,
                    Record {
                        model: model.clone(),
                        key,
                    },
                )?;
            }
            log::info!("{made} the store {} for the model {model}", path.display());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let Record {
        model,
        key: recorded,
    } = store.record();
    if recorded != public {
        return Err(Error::WrongKey {
            key: key.to_owned(),
            given: public.into(),
            store: path.to_owned(),
            recorded: recorded.clone(),
        });
    }
    if let Some(other) = options.model.as_ref().filter(|other| *other != model) {
        return Err(Error::Usage(format!(
            "{} is of the model `{model}`; `reclone-model publish --model {other}` gives it another name",
            path.display()
        )));
    }
    log::info!("the store {} of the model {model} is there", path.display());
    Ok(())
}

fn publish_command(from: &Path, key: &Path, store: &Path) -> String {
    let option = match from == Path::new("/") {
        true => String::new(),
        false => format!(" --from {}", from.display()),
    };
    let cross = match is_partition(from, "boot") {
        // Clones start a newer kernel of the model's from there.
        true => " --cross /boot",
        false => "",
    };
    format!(
        "reclone-model publish{option}{cross} --key {} {}",
        key.display(),
        store.display()
    )
}

/// Whether another file system begins at a folder of the tree.
fn is_partition(from: &Path, folder: &str) -> bool {
    let device = |path: &Path| {
        let found = fs::symlink_metadata(path).ok().filter(|it| it.is_dir());
        found.map(|it| it.dev())
    };
    let own = device(&from.join(folder));
    own.is_some() && own != device(from)
}

/// How the store gets to the clones: by the unit that was asked for, by the web servers that are here, or by hand.
fn serving(store: &Path, options: &SetupOptions) -> String {
    let port = options.port;
    if options.serve_unit {
        return format!(
            "{} serves {} on port {port}; `systemctl status` and `journalctl -u` tell of it.\n\n",
            unit::NAME,
            store.display()
        );
    }
    let found = Server::found(std::env::var_os("PATH").unwrap_or_default().as_os_str());
    let mut text = String::new();
    for server in &found {
        let name = server.name();
        text += &format!("Have {name} serve it on port {port}:\n\n");
        for line in server.lines(store, port).lines() {
            text += format!("    {line}").trim_end();
            text.push('\n');
        }
        text.push('\n');
    }
    if found.is_empty() {
        text = format!(
            "Serve it with any web server; none of nginx, Apache and Caddy is here. Or by this program, until it is stopped,\n\
             or from now on with `reclone-model setup --serve-unit`:\n\n    \
             reclone-model serve {} --listen '[::]:{port}'\n\n",
            store.display()
        );
    }
    text
}
