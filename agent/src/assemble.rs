//! image + objects + session → root. Every boot does this; by hand it works on any folder.
//!
//! The image is mounted through a loop device under an overlay whose data layer is the pool's objects. Since kernel 6.5
//! objects are a data-only layer (`lowerdir=IMAGE::OBJECTS`); before, they are an ordinary lower layer, hidden by the
//! whiteouts at the top of the image. Which it is shows when the kernel takes the options or not.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use log::info;
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::pool::{Pool, make_dir};
use crate::session::Session;
use crate::state::Generation;
use crate::sys::loop_device::LoopDevice;
use crate::sys::mount;

/// Where the image is mounted for the moment it takes to hand it to the overlay.
const RUN: &str = "/run/reclone";

/// How the kernel took the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a data-only layer.
    DataOnly,
    /// As an ordinary lower layer.
    Plain,
}

/// Mounts `generation` at `target`: writable into `session`, or read-only without one. Writes nothing but the session's
/// folders; syncs nothing. On an error nothing stays mounted.
pub fn assemble(
    pool: &Pool,
    generation: &Generation,
    session: Option<&Session>,
    target: &Path,
) -> Result<Form> {
    let form = mount_generation(pool, generation, session, target)?;
    info!(
        "generation {} is at {}",
        generation.number,
        target.display()
    );
    Ok(form)
}

/// Shows the generation at `at`, read-only, for as long as `work` takes.
pub fn look_into<T>(
    pool: &Pool,
    generation: &Generation,
    at: &Path,
    work: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    fs::create_dir_all(at).map_err(Error::system("can not make the folder", at))?;
    mount_generation(pool, generation, None, at)?;
    let done = work(at);
    mount::unmount(at).map_err(Error::system("can not unmount", at))?;
    done
}

fn mount_generation(
    pool: &Pool,
    generation: &Generation,
    session: Option<&Session>,
    target: &Path,
) -> Result<Form> {
    let image = ImageMount::new(pool, generation.number)?;
    if let Some(session) = session {
        session.prepare(&image.at)?;
    }
    let layers = Layers {
        above: None,
        image: &image.at,
        objects: &pool.objects(),
        session,
    };
    mount_overlay(&layers, target)
}

/// Mounts at `target`, read-only, what `session`, in which nobody is, shows over its `generation`. On an error nothing stays mounted.
pub fn show(
    pool: &Pool,
    generation: &Generation,
    session: &Session,
    target: &Path,
) -> Result<Form> {
    let image = ImageMount::new(pool, generation.number)?;
    let layers = Layers {
        above: Some(&session.upper()),
        image: &image.at,
        objects: &pool.objects(),
        session: None,
    };
    mount_overlay(&layers, target)
}

/// What an overlay is made of.
struct Layers<'a> {
    /// A read-only layer over the others.
    above: Option<&'a Path>,
    image: &'a Path,
    objects: &'a Path,
    /// Where it is written; read-only without it.
    session: Option<&'a Session>,
}

fn mount_overlay(layers: &Layers, target: &Path) -> Result<Form> {
    let mut last = Errno::EINVAL;
    let read_only = layers.session.is_none();
    // Hard links of the model stay links when written to only with an index, which not every file system can hold.
    for (form, index) in [
        (Form::DataOnly, true),
        (Form::DataOnly, false),
        (Form::Plain, true),
        (Form::Plain, false),
    ] {
        if index && read_only {
            continue;
        }
        match mount::overlay(&layers.options(form, index), target, read_only) {
            Ok(()) => return Ok(form),
            Err(error) => last = error,
        }
    }
    Err(Error::system("can not mount the generation at", target)(
        last,
    ))
}

impl Layers<'_> {
    fn options(&self, form: Form, index: bool) -> OsString {
        let mut options = OsString::from("metacopy=on,redirect_dir=on,lowerdir=");
        if let Some(above) = self.above {
            options.push(mount::option_path(above));
            options.push(":");
        }
        options.push(mount::option_path(self.image));
        options.push(if form == Form::DataOnly { "::" } else { ":" });
        options.push(mount::option_path(self.objects));
        if let Some(session) = self.session {
            options.push(",upperdir=");
            options.push(mount::option_path(&session.upper()));
            options.push(",workdir=");
            options.push(mount::option_path(&session.work()));
            options.push(if index { ",index=on" } else { ",index=off" });
        }
        options
    }
}

/// The image of a generation, mounted until this is dropped. What was mounted over it keeps it alive.
struct ImageMount {
    at: PathBuf,
}

impl ImageMount {
    fn new(pool: &Pool, number: u64) -> Result<Self> {
        let path = pool.image(number);
        let file = File::open(&path).map_err(Error::system("can not open", &path))?;
        let device = LoopDevice::attach(&file)
            .map_err(Error::system("can not find a loop device for", &path))?;
        let at = mount_point(pool)?;
        match mount::erofs(device.path(), &at) {
            Ok(()) => Ok(Self { at }),
            Err(error) => {
                let _ = fs::remove_dir(&at);
                Err(Error::system("can not mount", &path)(error))
            }
        }
    }
}

impl Drop for ImageMount {
    fn drop(&mut self) {
        let _ = mount::detach(&self.at);
        let _ = fs::remove_dir(&self.at);
    }
}

/// An empty folder of this process: below `/run`, which is there at boot, or else in the pool.
fn mount_point(pool: &Pool) -> Result<PathBuf> {
    let name = format!("image-{}", std::process::id());
    let run = Path::new(RUN);
    let home = match fs::create_dir_all(run) {
        Ok(()) => run,
        Err(_) => pool.root(),
    };
    let at = home.join(name);
    make_dir(&at)?;
    Ok(at)
}
