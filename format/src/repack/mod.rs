//! Compressed bytes made again from their content: the same as zstd made them, bit by bit. An archive that was compressed
//! when it was built, as an initramfs image, differs wholly from the one before; its content hardly does.
//!
//! No compressor is asked, which would have to be of the very version: [`parse`] guesses what zstd's levels 5 to 12 did, and
//! a *recipe* says what can not be guessed and where a guess is wrong. Layout: `docs/format.md`, section "Repacked".

// the ground
pub mod bits;
pub mod fse;

// what stands in a block
mod block;
pub mod codes;
pub mod huffman;

// which matches it has
mod finder;
pub mod parse;

// all that is not guessed
pub mod recipe;

use std::io::{self, BufRead, Read, Write};

use block::Blocks;
use parse::{Guide, Parser, Sequence};
use recipe::{Block, Compressed, Item, Job};

use crate::patch::{Base, MAX_PATCH};
use crate::wire::Reader;
use crate::{Error, Result, patch};

/// The most bytes of a content.
pub const MAX_CONTENT: u64 = 1 << 30;
const STRUCTURE: &str = "recipe";
/// The memory that it takes at most: places, the bytes that matches may refer to, a block.
pub const MEMORY: u64 = 48 << 20;
/// How many frames a recipe may have: each takes time, however short it is.
const MAX_FRAMES: usize = 64;

/// Makes the packed bytes of `payload`, which ends with them, from `base`, writing them to `out`. Memory: [`MEMORY`], what
/// [`MAX_PATCH`] allows, and four zstd windows.
pub fn apply(
    payload: &mut impl BufRead,
    base: &(impl Base + ?Sized),
    window_log: u8,
    out: &mut impl Write,
) -> Result<()> {
    let mut fields = Reader::new(payload, STRUCTURE);
    let (length, size) = (fields.u64()?, fields.u64()?);
    if length > MAX_PATCH || size > MAX_CONTENT {
        return Err(fields.bad("it is larger than 64 MiB, or its content than 1 GiB"));
    }
    let recipe = fields.bytes(length as usize, MAX_PATCH as usize, "it")?;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(&recipe[..])?.single_frame();
    decoder.window_log_max(u32::from(window_log))?;
    let mut repacker = Repacker::new(decoder, out)?;
    patch::apply(fields.into_inner(), base, window_log, size, &mut repacker)?;
    let mut rest = Reader::new(repacker.finish()?.0, STRUCTURE);
    match rest.at_end()? && rest.into_inner().finish().is_empty() {
        true => Ok(()),
        false => Err(Error::malformed(STRUCTURE, "it goes on after its end")),
    }
}

/// Takes content and writes the packed bytes.
pub struct Repacker<R, W> {
    recipe: Reader<R>,
    out: W,
    /// What the next content is for.
    now: Item,
    engine: Option<Engine>,
    packed: Vec<u8>,
    frames: usize,
}

/// What a frame in the making needs.
#[derive(Debug)]
pub struct Engine {
    job: Job,
    parser: Parser,
    blocks: Blocks,
    /// Content since the job began, and what it may refer to before.
    content: Vec<u8>,
    /// Where the job's own content begins.
    start: usize,
    /// Where the block begins.
    begun: usize,
    sequences: Vec<Sequence>,
}

impl<R: Read, W: Write> Repacker<R, W> {
    /// Goes by `recipe` and writes to `out`.
    pub fn new(recipe: R, out: W) -> Result<Self> {
        let mut repacker = Self {
            recipe: Reader::new(recipe, STRUCTURE),
            out,
            now: Item::Plain(0),
            engine: None,
            packed: Vec::new(),
            frames: 0,
        };
        repacker.go_on()?;
        Ok(repacker)
    }

    /// Writes what needs no more content, up to an item that does.
    fn go_on(&mut self) -> Result<()> {
        loop {
            match Item::read(&mut self.recipe)? {
                Item::Plain(0) => {}
                Item::Bytes(bytes) => self.out.write_all(&bytes)?,
                Item::Frame(job) => {
                    self.frames += 1;
                    if self.frames > MAX_FRAMES {
                        return Err(self.recipe.bad("it has too many frames"));
                    }
                    self.engine = None;
                    self.engine = Some(Engine::new(job));
                }
                Item::Block(block) => {
                    let Some(engine) = &mut self.engine else {
                        return Err(self.recipe.bad("it has a block before its frame"));
                    };
                    engine.begin_block();
                    if block.size > 0 {
                        self.now = Item::Block(block);
                        return Ok(());
                    }
                    self.write_block(&block)?;
                }
                item => {
                    self.now = item;
                    return Ok(());
                }
            }
        }
    }

    fn write_block(&mut self, block: &Block) -> Result<()> {
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        self.packed.clear();
        let mut guide = Corrected::of(block);
        engine.write(block, &mut guide, &mut self.packed)?;
        Ok(self.out.write_all(&self.packed)?)
    }

    /// Takes some of `content`; how much.
    fn take(&mut self, content: &[u8]) -> Result<usize> {
        match &mut self.now {
            Item::Plain(left) => {
                let count =
                    usize::try_from(*left).map_or(content.len(), |left| left.min(content.len()));
                self.out.write_all(&content[..count])?;
                *left -= count as u64;
                if *left == 0 {
                    self.go_on()?;
                }
                Ok(count)
            }
            Item::Block(block) => {
                let engine = self.engine.as_mut();
                let engine =
                    engine.ok_or_else(|| Error::malformed(STRUCTURE, "it has no frame"))?;
                let missing = engine.missing(block);
                let count = missing.min(content.len());
                engine.add(&content[..count]);
                if count == missing {
                    let now = std::mem::replace(&mut self.now, Item::End);
                    if let Item::Block(block) = &now {
                        self.write_block(block)?;
                    }
                    self.go_on()?;
                }
                Ok(count)
            }
            _ => Err(self.recipe.bad("it ends before the content does")),
        }
    }

    /// Checks that all of the recipe was used; gives its source back, and what was written to.
    pub fn finish(self) -> Result<(R, W)> {
        match self.now {
            Item::End => Ok((self.recipe.into_inner(), self.out)),
            _ => Err(self.recipe.bad("it goes on after the content")),
        }
    }
}

impl<R: Read, W: Write> Write for Repacker<R, W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.take(content).map_err(|error| match error {
            Error::Io(error) => error,
            other => io::Error::other(other),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Engine {
    /// Before a frame's first block.
    pub fn new(job: Job) -> Self {
        let mut parser = Parser::new(job.style);
        parser.restart(&[]);
        Self {
            job,
            parser,
            blocks: Blocks::default(),
            content: Vec::with_capacity(
                (1 << job.size_log) + (1 << job.overlap_log) + recipe::MAX_BLOCK,
            ),
            start: 0,
            begun: 0,
            sequences: Vec::new(),
        }
    }

    /// A block's content is to come.
    pub fn begin_block(&mut self) {
        let size = self.content.len() - self.start;
        if size >= 1 << self.job.size_log {
            let overlap = (1usize << self.job.overlap_log).min(self.content.len());
            self.content.drain(..self.content.len() - overlap);
            self.parser.restart(&self.content);
            self.start = self.content.len();
        }
        self.begun = self.content.len();
    }

    /// Some of the block's content, of which a block has at most [`recipe::MAX_BLOCK`] bytes.
    pub fn add(&mut self, content: &[u8]) {
        self.content.extend_from_slice(content);
    }

    fn missing(&self, block: &Block) -> usize {
        block.size - (self.content.len() - self.begun)
    }

    /// The block whose content came, with sequences as `guide` has them.
    pub fn write(
        &mut self,
        block: &Block,
        guide: &mut impl Guide,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let last = self.parser.last();
        self.parser
            .block(&self.content, self.begun, guide, &mut self.sequences)?;
        if block.compressed().is_none() {
            self.parser.set_last(last);
        }
        let content = &self.content[self.begun..];
        self.blocks.write(block, content, &self.sequences, out)
    }
}

/// The sequences that a recipe says: those guessed, but for its corrections.
struct Corrected<'a> {
    block: Option<&'a Compressed>,
    next: usize,
}

impl<'a> Corrected<'a> {
    fn of(block: &'a Block) -> Self {
        let block = block.compressed();
        Self { block, next: 0 }
    }
}

impl Guide for Corrected<'_> {
    fn sequence(&mut self, at: usize, guess: Option<Sequence>) -> Result<Option<Sequence>> {
        let Some(block) = self.block else {
            return Ok(guess);
        };
        if at == usize::from(block.count) {
            return match self.next == block.corrections.len() {
                true => Ok(None),
                false => Err(Error::malformed(
                    STRUCTURE,
                    "a correction is of no sequence",
                )),
            };
        }
        let right = match block.corrections.get(self.next) {
            Some((number, right)) if usize::from(*number) == at => {
                self.next += 1;
                Some(*right)
            }
            _ => guess,
        };
        match right {
            None => Err(Error::malformed(
                STRUCTURE,
                "a block has fewer sequences than it says",
            )),
            some => Ok(some),
        }
    }
}

#[cfg(test)]
mod tests;
