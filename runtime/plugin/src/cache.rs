//! Compiled plugins kept on disk, so that a restart compiles nothing.
//!
//! `<root>/<engine>/<digest>.cwasm`, where `engine` stands for everything that decides whether code fits (version,
//! settings, processor). Losing the cache costs time only: whatever goes wrong here is a warning and a compilation.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::artifact::{Artifact, HEADER_BYTES, MAX_CODE_BYTES};
use crate::{Digest, clock};

const SUFFIX: &str = ".cwasm";
/// A file that is being written; what a crash leaves of it goes at the next start.
const UNFINISHED: &str = ".new-";

pub(crate) struct Cache {
    directory: PathBuf,
    max_bytes: u64,
    /// Held while files come and go, so that two writers do not trim each other's.
    turn: Mutex<()>,
}

impl Cache {
    /// Makes the directories, for nobody else to read or write, and removes what other engines left.
    pub(crate) fn open(root: &Path, engine: &str, max_bytes: u64) -> io::Result<Cache> {
        let directory = root.join(engine);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        make_private(root, &directory)?;
        let cache = Cache {
            directory,
            max_bytes,
            turn: Mutex::default(),
        };
        cache.sweep(root, engine)?;
        Ok(cache)
    }

    /// `None` when there is nothing. A damaged file is removed, and the error says what was wrong with it.
    pub(crate) fn read(&self, digest: Digest) -> Result<Option<Artifact>, String> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut bytes = Vec::new();
        let max = (HEADER_BYTES + MAX_CODE_BYTES) as u64;
        (&file)
            .take(max + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| error.to_string())?;
        match Artifact::decode(digest, bytes) {
            Ok(artifact) => {
                // The order in which files go; not worth failing for.
                drop(file.set_modified(clock::wall()));
                Ok(Some(artifact))
            }
            Err(why) => {
                self.remove(digest);
                Err(why.to_owned())
            }
        }
    }

    /// Durable and whole, or not there at all. Older files go until all fit.
    pub(crate) fn write(&self, artifact: &Artifact) -> io::Result<()> {
        if (HEADER_BYTES + artifact.code().len()) as u64 > self.max_bytes {
            return Ok(());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(artifact.digest());
        let unfinished = self
            .directory
            .join(format!("{UNFINISHED}{}", artifact.digest()));
        let written =
            write_synced(&unfinished, artifact).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            drop(fs::remove_file(&unfinished));
        }
        written?;
        File::open(&self.directory)?.sync_all()?;
        self.trim(&path)
    }

    pub(crate) fn remove(&self, digest: Digest) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        drop(fs::remove_file(self.path(digest)));
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(format!("{digest}{SUFFIX}"))
    }

    /// Only what this module may have made is removed: somebody may have put other things here.
    fn sweep(&self, root: &Path, engine: &str) -> io::Result<()> {
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name();
            let of_an_engine = name.to_str().is_some_and(|name| {
                name != engine
                    && name.len() == engine.len()
                    && name.bytes().all(|b| b.is_ascii_hexdigit())
            });
            if of_an_engine && entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(UNFINISHED))
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes the files that were not used for longest until the rest fits, but never `kept`.
    fn trim(&self, kept: &Path) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.ends_with(SUFFIX))
            {
                let meta = entry.metadata()?;
                files.push((meta.modified()?, meta.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.max_bytes {
                break;
            }
            if path != kept {
                fs::remove_file(&path)?;
                total = total.saturating_sub(bytes);
            }
        }
        Ok(())
    }
}

/// Code is loaded from here, so nobody else may write here.
fn make_private(root: &Path, directory: &Path) -> io::Result<()> {
    let of_ours = fs::symlink_metadata(directory)?;
    for path in [root, directory] {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_dir() {
            return Err(io::Error::other(format!(
                "{} is not a directory",
                path.display()
            )));
        }
        if meta.mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        // Permissions can be set by the owner and by root; root must not load what a user left there.
        if meta.uid() != of_ours.uid() {
            return Err(io::Error::other(format!(
                "{} belongs to another user",
                path.display()
            )));
        }
    }
    Ok(())
}

fn write_synced(path: &Path, artifact: &Artifact) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&artifact.header())?;
    file.write_all(artifact.code())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    const ENGINE: &str = "00112233";

    fn artifact(number: u8, bytes: usize) -> Artifact {
        Artifact::compiled(Digest([number; 32]), vec![number; bytes])
    }

    fn names(cache: &Cache) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&cache.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_written_is_there_after_a_restart() {
        let root = TempDir::new().unwrap();
        let cache = Cache::open(root.path(), ENGINE, 1 << 20).unwrap();
        cache.write(&artifact(1, 100)).unwrap();
        let again = Cache::open(root.path(), ENGINE, 1 << 20).unwrap();
        let read = again.read(Digest([1; 32])).unwrap().unwrap();
        assert_eq!(read.code(), artifact(1, 100).code());
        assert!(again.read(Digest([2; 32])).unwrap().is_none());
        again.remove(Digest([1; 32]));
        assert!(again.read(Digest([1; 32])).unwrap().is_none());
    }

    #[test]
    fn nobody_else_may_look_in() {
        let root = TempDir::new().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o777)).unwrap();
        let cache = Cache::open(root.path(), ENGINE, 1 << 20).unwrap();
        cache.write(&artifact(1, 10)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(root.path()), 0o700);
        assert_eq!(mode(&cache.directory), 0o700);
        assert_eq!(mode(&cache.path(Digest([1; 32]))), 0o600);
    }

    #[test]
    fn leftovers_of_other_engines_and_of_crashes_go_and_nothing_else() {
        let root = TempDir::new().unwrap();
        let other = Cache::open(root.path(), "ffeeddcc", 1 << 20).unwrap();
        other.write(&artifact(1, 10)).unwrap();
        fs::create_dir(root.path().join("notes")).unwrap();
        let mine = root.path().join(ENGINE);
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join(format!("{UNFINISHED}x")), "half").unwrap();
        let cache = Cache::open(root.path(), ENGINE, 1 << 20).unwrap();
        assert!(!other.directory.exists());
        assert!(root.path().join("notes").exists());
        assert_eq!(names(&cache), Vec::<String>::new());
    }

    #[test]
    fn a_damaged_file_is_told_and_removed() {
        let root = TempDir::new().unwrap();
        let cache = Cache::open(root.path(), ENGINE, 1 << 20).unwrap();
        cache.write(&artifact(1, 100)).unwrap();
        let path = cache.path(Digest([1; 32]));
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let why = cache.read(Digest([1; 32])).err().unwrap();
        assert!(why.contains("checksum"), "{why}");
        assert!(cache.read(Digest([1; 32])).unwrap().is_none());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let root = TempDir::new().unwrap();
        let cache = Cache::open(root.path(), ENGINE, 3 * 1000).unwrap();
        for number in 1..=3 {
            cache.write(&artifact(number, 900)).unwrap();
            let age = Duration::from_secs(100 - u64::from(number));
            let file = File::open(cache.path(Digest([number; 32]))).unwrap();
            file.set_modified(clock::wall() - age).unwrap();
        }
        // The oldest is used again, so that the second is the one to go.
        assert!(cache.read(Digest([1; 32])).unwrap().is_some());
        cache.write(&artifact(4, 900)).unwrap();
        let left = [1, 2, 3, 4].map(|n| cache.read(Digest([n; 32])).unwrap().is_some());
        assert_eq!(left, [true, false, true, true]);
        cache.write(&artifact(5, 5000)).unwrap();
        assert!(
            cache.read(Digest([5; 32])).unwrap().is_none(),
            "larger than the whole cache"
        );
    }
}
