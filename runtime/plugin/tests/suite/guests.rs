//! Guests written by hand: a core module in WAT, made a component against the real `plugin.wit`.
//!
//! There is no Rust toolchain for Wasm in these tests, and a compiler would not write what hostile guests
//! do. Offsets into the batch and the results follow the canonical ABI of `wit/plugin.wit`.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../wit/plugin.wit");
/// The version of the contract that was never released.
pub(crate) const PREVIEW_WIT: &str = include_str!("../wit/plugin-0.0.1.wit");

/// Looks at the first byte of each value: `d`rop, `r`eject, `t`rap, `l`oop; anything else stays.
pub(crate) const BY_VALUE: &str = "
    (local $n i32) (local $i i32) (local $offsets i32) (local $data i32) (local $out i32)
    (local $start i32) (local $byte i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (local.set $offsets (i32.load offset=100 (local.get $batch)))
    (local.set $data (i32.load offset=108 (local.get $batch)))
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $start
            (i32.load (i32.add (local.get $offsets) (i32.shl (local.get $i) (i32.const 2)))))
        (local.set $byte (i32.const 0))
        (if (i32.lt_u (local.get $start)
                (i32.load offset=4 (i32.add (local.get $offsets) (i32.shl (local.get $i) (i32.const 2)))))
            (then (local.set $byte
                (i32.load8_u (i32.add (local.get $data) (local.get $start))))))
        (if (i32.eq (local.get $byte) (i32.const 116)) (then (unreachable)))
        (if (i32.eq (local.get $byte) (i32.const 108)) (then (loop $ever (br $ever))))
        (i32.store8 (i32.add (local.get $out) (local.get $i))
            (i32.add
                (i32.eq (local.get $byte) (i32.const 100))
                (i32.mul (i32.const 2) (i32.eq (local.get $byte) (i32.const 114)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $ok (local.get $out) (local.get $n))";

/// Drops a record whose first header's value starts with `d`. Say `columns: 4` beside it.
pub(crate) const BY_HEADER: &str = "
    (local $n i32) (local $i i32) (local $rows i32) (local $offsets i32) (local $data i32)
    (local $out i32) (local $entry i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (local.set $rows (i32.load offset=128 (local.get $batch)))
    (local.set $offsets (i32.load offset=160 (local.get $batch)))
    (local.set $data (i32.load offset=168 (local.get $batch)))
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i32.store8 (i32.add (local.get $out) (local.get $i)) (i32.const 0))
        (local.set $entry
            (i32.load (i32.add (local.get $rows) (i32.shl (local.get $i) (i32.const 2)))))
        (if (i32.lt_u (local.get $entry)
                (i32.load offset=4 (i32.add (local.get $rows) (i32.shl (local.get $i) (i32.const 2)))))
            (then
                (local.set $entry (i32.load
                    (i32.add (local.get $offsets) (i32.shl (local.get $entry) (i32.const 2)))))
                (i32.store8 (i32.add (local.get $out) (local.get $i))
                    (i32.eq (i32.load8_u (i32.add (local.get $data) (local.get $entry)))
                        (i32.const 100)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $ok (local.get $out) (local.get $n))";

/// Routes every record to its first topic, by key, and keeps it here.
pub(crate) const ROUTE_ALL: &str = "
    (local $n i32) (local $i i32) (local $records i32) (local $targets i32) (local $partitions i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (local.set $records (call $words (local.get $n)))
    (local.set $targets (call $words (local.get $n)))
    (local.set $partitions (call $words (local.get $n)))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i32.store (i32.add (local.get $records) (i32.shl (local.get $i) (i32.const 2))) (local.get $i))
        (i32.store (i32.add (local.get $targets) (i32.shl (local.get $i) (i32.const 2))) (i32.const 0))
        (i32.store (i32.add (local.get $partitions) (i32.shl (local.get $i) (i32.const 2)))
            (i32.const -1))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (memory.fill (i32.const 512) (i32.const 0) (i32.const 20))
    (i32.store (i32.const 532) (i32.const 640)) (i32.store (i32.const 536) (i32.const 1))
    (i32.store (i32.const 540) (local.get $records)) (i32.store (i32.const 544) (local.get $n))
    (i32.store (i32.const 548) (local.get $targets)) (i32.store (i32.const 552) (local.get $n))
    (i32.store (i32.const 556) (local.get $partitions)) (i32.store (i32.const 560) (local.get $n))
    (i32.const 512)";

/// A transform that looks at the first byte of each value: `d`rop, `r`eject, `t`rap; `e` gets the value `E`, `n` a null
/// value; anything else stays as it is.
pub(crate) const EDIT_BY_VALUE: &str = "
    (local $n i32) (local $i i32) (local $edited i32) (local $bytes i32) (local $byte i32)
    (local $codes i32) (local $rows i32) (local $offsets i32) (local $data i32) (local $nulls i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (local.set $codes (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (local.set $data (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (local.set $nulls (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (memory.fill (local.get $nulls) (i32.const 0) (local.get $n))
    (local.set $rows (call $words (local.get $n)))
    (local.set $offsets (call $words (i32.add (local.get $n) (i32.const 1))))
    (i32.store (local.get $offsets) (i32.const 0))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $byte (call $first (local.get $batch) (local.get $i)))
        (if (i32.eq (local.get $byte) (i32.const 116)) (then (unreachable)))
        (i32.store8 (i32.add (local.get $codes) (local.get $i))
            (i32.add
                (i32.eq (local.get $byte) (i32.const 100))
                (i32.mul (i32.const 2) (i32.eq (local.get $byte) (i32.const 114)))))
        (if (i32.or (i32.eq (local.get $byte) (i32.const 101)) (i32.eq (local.get $byte) (i32.const 110)))
            (then
                (i32.store (i32.add (local.get $rows) (i32.shl (local.get $edited) (i32.const 2)))
                    (local.get $i))
                (if (i32.eq (local.get $byte) (i32.const 101))
                    (then
                        (i32.store8 (i32.add (local.get $data) (local.get $bytes)) (i32.const 69))
                        (local.set $bytes (i32.add (local.get $bytes) (i32.const 1))))
                    (else
                        (i32.store8
                            (i32.add (local.get $nulls) (i32.shr_u (local.get $edited) (i32.const 3)))
                            (i32.or
                                (i32.load8_u
                                    (i32.add (local.get $nulls) (i32.shr_u (local.get $edited) (i32.const 3))))
                                (i32.shl (i32.const 1) (i32.and (local.get $edited) (i32.const 7)))))))
                (local.set $edited (i32.add (local.get $edited) (i32.const 1)))
                (i32.store (i32.add (local.get $offsets) (i32.shl (local.get $edited) (i32.const 2)))
                    (local.get $bytes))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (drop (call $untouched))
    (i32.store (i32.const 1028) (local.get $codes)) (i32.store (i32.const 1032) (local.get $n))
    (i32.store8 (i32.const 1080) (i32.const 1))
    (i32.store (i32.const 1084) (local.get $rows)) (i32.store (i32.const 1088) (local.get $edited))
    (i32.store (i32.const 1092) (local.get $offsets))
    (i32.store (i32.const 1096) (i32.add (local.get $edited) (i32.const 1)))
    (i32.store (i32.const 1100) (local.get $data)) (i32.store (i32.const 1104) (local.get $bytes))
    (i32.store (i32.const 1108) (local.get $nulls))
    (i32.store (i32.const 1112)
        (i32.shr_u (i32.add (local.get $edited) (i32.const 7)) (i32.const 3)))
    (i32.const 1024)";

/// A transform that gives every value back as it came, its first byte made `!`: one entry for each record.
pub(crate) const MARK_ALL: &str = "
    (local $n i32) (local $i i32) (local $at i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (if (call $first (local.get $batch) (local.get $i))
            (then
                (local.set $at (i32.load (i32.add (i32.load offset=100 (local.get $batch))
                    (i32.shl (local.get $i) (i32.const 2)))))
                (i32.store8 (i32.add (i32.load offset=108 (local.get $batch)) (local.get $at))
                    (i32.const 33))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (drop (call $untouched))
    (i32.store8 (i32.const 1080) (i32.const 1))
    (memory.copy (i32.const 1092) (i32.add (local.get $batch) (i32.const 100)) (i32.const 24))
    (i32.const 1024)";

/// A filter that drops what it has seen before, by the first byte of the value. Say `state: 1` beside it.
pub(crate) const DEDUP: &str = "
    (local $n i32) (local $i i32) (local $byte i32) (local $out i32)
    (local.set $n (i32.load offset=48 (local.get $batch)))
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $byte (call $first (local.get $batch) (local.get $i)))
        (if (i32.eq (local.get $byte) (i32.const 116)) (then (unreachable)))
        (i32.store8 (i32.add (local.get $out) (local.get $i))
            (i32.load8_u offset=2048 (local.get $byte)))
        (i32.store8 offset=2048 (local.get $byte) (i32.const 1))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (call $ok (local.get $out) (local.get $n))";

/// Keeps everything by giving no codes.
pub(crate) const KEEP_ALL: &str = "(call $ok (i32.const 0) (i32.const 0))";

#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) world: &'static str,
    /// Bits: key 1, value 2, headers 4, timestamp 8.
    pub(crate) columns: u8,
    /// What a transform may replace, in the same bits.
    pub(crate) writes: u8,
    /// 1: keeps state for each partition.
    pub(crate) state: u8,
    pub(crate) pages: u32,
    pub(crate) describe: String,
    pub(crate) configure: String,
    pub(crate) targets: String,
    pub(crate) run: String,
    pub(crate) realloc: String,
    /// Imports beside the host's functions.
    pub(crate) imports: String,
    /// More of the module: functions, globals, tables, data.
    pub(crate) extra: String,
    pub(crate) wit: String,
}

impl Guest {
    pub(crate) fn filter(run: &str) -> Guest {
        Guest {
            world: "filter",
            columns: 2,
            writes: 0,
            state: 0,
            pages: 2,
            describe: "(call $description)".into(),
            configure: "(call $ok (i32.const 0) (i32.const 0))".into(),
            targets: "
                (i32.store8 (i32.const 512) (i32.const 0))
                (i32.store (i32.const 516) (i32.const 640))
                (i32.store (i32.const 520) (i32.const 1))
                (i32.const 512)"
                .into(),
            run: run.into(),
            realloc: BUMP.into(),
            imports: String::new(),
            extra: String::new(),
            wit: WIT.into(),
        }
    }

    /// Its only target is `out`, which stands as a list of one string at 640.
    pub(crate) fn router(run: &str) -> Guest {
        Guest {
            world: "router",
            ..Guest::filter(run)
        }
    }

    /// May replace every column.
    pub(crate) fn transform(run: &str) -> Guest {
        Guest {
            world: "transform",
            writes: 15,
            ..Guest::filter(run)
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve
            .push_str("plugin.wit", &self.wit)
            .expect("WIT parses");
        let world = resolve
            .select_world(&[package], Some(self.world))
            .expect("the world is there");
        let mut module = wat::parse_str(self.wat()).expect("WAT parses");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("metadata fits");
        ComponentEncoder::default()
            .module(&module)
            .expect("the module fits its world")
            .validate(true)
            .encode()
            .expect("a component")
    }

    fn wat(&self) -> String {
        let Guest {
            columns,
            writes,
            state,
            pages,
            describe,
            configure,
            run,
            realloc,
            extra,
            imports,
            ..
        } = self;
        let (export, targets) = match self.world {
            "filter" => ("filter", String::new()),
            "transform" => ("apply", String::new()),
            _ => (
                "route",
                format!("(func (export \"targets\") (result i32) {})", self.targets),
            ),
        };
        let version = match self.wit.split_once("tidegate:plugin@") {
            Some((_, rest)) => rest.split(';').next().unwrap_or_default(),
            None => "0.1.0",
        };
        let host = format!("tidegate:plugin/host@{version}");
        let since_0_1 = match version {
            "0.0.1" => String::new(),
            _ => format!(
                "(import \"{host}\" \"counter\" (func $counter (param i32 i32 i64)))
                (import \"{host}\" \"narrow\" (func $narrow (param i32)))"
            ),
        };
        format!(
            "(module
                (import \"{host}\" \"log\" (func $log (param i32 i32 i32)))
                (import \"{host}\" \"config\" (func $config (param i32 i32 i32)))
                {since_0_1}
                {imports}
                (memory (export \"memory\") {pages})
                (global $free (mut i32) (i32.const 65536))
                (global $calls (mut i32) (i32.const 0))
                (data (i32.const 640) \"\\88\\02\\00\\00\\03\\00\\00\\00out\")
                (data (i32.const 700) \"guest\") (data (i32.const 710) \"1.0.0\")
                (data (i32.const 720) \"mode\") (data (i32.const 730) \"soft\")
                (data (i32.const 740) \"A sentence.\") (data (i32.const 760) \"level\")
                (func $realloc (export \"cabi_realloc\")
                    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
                    (result i32) {realloc})
                (func $words (param $n i32) (result i32)
                    (call $realloc (i32.const 0) (i32.const 0) (i32.const 4)
                        (i32.shl (local.get $n) (i32.const 2))))
                (func $ok (param $codes i32) (param $count i32) (result i32)
                    (i32.store8 (i32.const 512) (i32.const 0))
                    (i32.store (i32.const 516) (local.get $codes))
                    (i32.store (i32.const 520) (local.get $count))
                    (i64.store align=4 (i32.const 524) (i64.const 0))
                    (i32.const 512))
                (func $all (param $batch i32) (param $code i32) (result i32)
                    (local $n i32) (local $out i32)
                    (local.set $n (i32.load offset=48 (local.get $batch)))
                    (local.set $out
                        (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
                    (memory.fill (local.get $out) (local.get $code) (local.get $n))
                    (call $ok (local.get $out) (local.get $n)))
                ;; The first byte of a value, 0 for none.
                (func $first (param $batch i32) (param $row i32) (result i32)
                    (local $offset i32)
                    (local.set $offset (i32.add (i32.load offset=100 (local.get $batch))
                        (i32.shl (local.get $row) (i32.const 2))))
                    (if (result i32) (i32.lt_u (i32.load (local.get $offset))
                            (i32.load offset=4 (local.get $offset)))
                        (then (i32.load8_u (i32.add (i32.load offset=108 (local.get $batch))
                            (i32.load (local.get $offset)))))
                        (else (i32.const 0))))
                ;; An answer of a transform that keeps everything as it is, at 1024: codes at 1028, reasons 1036, keys 1044, values 1080, headers 1116,
                ;; timestamps 1184.
                (func $untouched (result i32)
                    (memory.fill (i32.const 1024) (i32.const 0) (i32.const 180))
                    (i32.const 1024))
                (func $fail (param $text i32) (param $length i32) (result i32)
                    (i32.store8 (i32.const 512) (i32.const 1))
                    (i32.store (i32.const 516) (local.get $text))
                    (i32.store (i32.const 520) (local.get $length))
                    (i32.const 512))
                (func $description (result i32)
                    (i32.store (i32.const 768) (i32.const 700))
                    (i32.store (i32.const 772) (i32.const 5))
                    (i32.store (i32.const 776) (i32.const 710))
                    (i32.store (i32.const 780) (i32.const 5))
                    (i64.store (i32.const 784) (i64.const 0))
                    (i32.store8 (i32.const 792) (i32.const {columns}))
                    (i32.store8 (i32.const 793) (i32.const {state}))
                    (i32.store (i32.const 796) (i32.const 832))
                    (i32.store (i32.const 800) (i32.const 2))
                    (i32.store8 (i32.const 804) (i32.const {writes}))
                    ;; mode: text, default soft
                    (i32.store (i32.const 832) (i32.const 720))
                    (i32.store (i32.const 836) (i32.const 4))
                    (i32.store8 (i32.const 840) (i32.const 0))
                    (i32.store8 (i32.const 841) (i32.const 0))
                    (i32.store8 (i32.const 844) (i32.const 1))
                    (i32.store (i32.const 848) (i32.const 730))
                    (i32.store (i32.const 852) (i32.const 4))
                    (i32.store (i32.const 856) (i32.const 740))
                    (i32.store (i32.const 860) (i32.const 11))
                    ;; level: integer, optional, no default
                    (i32.store (i32.const 868) (i32.const 760))
                    (i32.store (i32.const 872) (i32.const 5))
                    (i32.store8 (i32.const 876) (i32.const 1))
                    (i32.store (i32.const 892) (i32.const 740))
                    (i32.store (i32.const 896) (i32.const 11))
                    (i32.const 768))
                (func (export \"describe\") (result i32) {describe})
                (func (export \"configure\") (param $config i32) (param $count i32) (result i32)
                    {configure})
                {targets}
                (func $run (export \"{export}\") (param $batch i32) (result i32) {run})
                (func (export \"cabi_post_{export}\") (param i32)
                    (global.set $free (i32.const 65536)))
                {extra})"
        )
    }
}

/// Never frees before the call's end; grows the memory as it must.
const BUMP: &str = "
    (local $at i32)
    (local.set $at (i32.and
        (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (block $fits (loop $grow
        (br_if $fits (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
        (br $grow)))
    (local.get $at)";
