//! The engines, each made ready to answer rows `from..to` again and again.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, ensure};
use libloading::Library;
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use plimsoll_edge::Model;
use plimsoll_kernel::forest::ONE;
use plimsoll_kernel::{File, Forest, Kernel};
use tract_onnx::prelude::*;

/// Columns of a row.
const COLUMNS: usize = 40;

/// What every engine answers, and what it should say.
pub(crate) struct Rows {
    values: Vec<f32>,
    /// Of the reference walk, which LightGBM's own answers were compared with.
    pub(crate) answers: Vec<f64>,
}

/// One way to evaluate the model.
pub(crate) struct Engine<'a> {
    pub(crate) name: &'static str,
    /// Takes milliseconds a row.
    pub(crate) slow: bool,
    /// Gives the bits of the reference walk.
    pub(crate) exact: bool,
    /// Evaluates rows `from..to`.
    pub(crate) run: Box<dyn FnMut(usize, usize) -> anyhow::Result<()> + 'a>,
    /// The first output of the last run from row 0.
    pub(crate) answers: Box<dyn Fn() -> Vec<f64> + 'a>,
}

impl Rows {
    /// Reads the rows, and holds the reference walk against LightGBM's answers.
    pub(crate) fn read(directory: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(directory.join("rows.f32"))?;
        let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let forest = forest(directory, "one.onnx")?;
        let answers: Vec<f64> =
            values.chunks_exact(COLUMNS).map(|row| f64::from(forest.evaluate(row)[0]) / f64::from(ONE)).collect();
        let theirs = fs::read(directory.join("lightgbm.f64"))?;
        let theirs = theirs.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")));
        ensure!(theirs.len() == answers.len(), "rows and answers of other lengths");
        for (ours, theirs) in answers.iter().zip(theirs) {
            ensure!((ours - theirs).abs() < 1e-9, "the file is not LightGBM's model: {ours} and {theirs}");
        }
        Ok(Self { values, answers })
    }

    pub(crate) fn count(&self) -> usize {
        self.answers.len()
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * COLUMNS..][..COLUMNS]
    }
}

fn forest(directory: &Path, name: &str) -> anyhow::Result<Forest> {
    Ok(File::read(&fs::read(directory.join(name))?)?.ensemble.forest)
}

/// Engines that take one row, the kernel first.
pub(crate) fn single<'a>(directory: &Path, runtime: &Environment, rows: &'a Rows) -> anyhow::Result<Vec<Engine<'a>>> {
    let one = Kernel::new(&forest(directory, "one.onnx")?)?;
    let seven = Kernel::new(&forest(directory, "seven.onnx")?)?;
    let model = Model::from_bytes(&fs::read(directory.join("one.onnx"))?)?;
    Ok(vec![
        kernel_one("kernel", one.clone(), rows),
        kernel_one("kernel, portable", one.portable(), rows),
        kernel_one("kernel, seven outputs", seven.clone(), rows),
        kernel_one("kernel, seven outputs, portable", seven.portable(), rows),
        engine("kernel through tract", true, rows, move |row| Ok(f64::from(model.steps(row)[0]) / f64::from(ONE))),
        onnx_runtime_one(directory, runtime, rows)?,
        tl2cgen_one(directory, rows)?,
        lleaves(directory, rows, 1)?,
        lightgbm_one(directory, rows)?,
        tract_one(directory, rows)?,
    ])
}

/// Engines that take a thousand rows.
pub(crate) fn batch<'a>(directory: &Path, runtime: &Environment, rows: &'a Rows) -> anyhow::Result<Vec<Engine<'a>>> {
    let one = Kernel::new(&forest(directory, "one.onnx")?)?;
    let seven = Kernel::new(&forest(directory, "seven.onnx")?)?;
    Ok(vec![
        kernel_rows("kernel", one.clone(), rows),
        kernel_rows("kernel, portable", one.portable(), rows),
        kernel_rows("kernel, seven outputs", seven, rows),
        onnx_runtime_rows(directory, runtime, rows)?,
        lleaves(directory, rows, rows.count())?,
    ])
}

/// An engine that answers one row with one number.
fn engine<'a>(
    name: &'static str,
    exact: bool,
    rows: &'a Rows,
    mut answer: impl FnMut(&[f32]) -> anyhow::Result<f64> + 'a,
) -> Engine<'a> {
    let answers = Rc::new(RefCell::new(vec![0.0; rows.count()]));
    let seen = Rc::clone(&answers);
    Engine {
        name,
        slow: false,
        exact,
        run: Box::new(move |from, to| {
            let mut answers = answers.borrow_mut();
            for (row, out) in (from..to).zip(answers.iter_mut()) {
                *out = answer(rows.row(row))?;
            }
            Ok(())
        }),
        answers: Box::new(move || seen.borrow().clone()),
    }
}

/// An engine that fills one number for each row at once.
fn at_once<'a>(
    name: &'static str,
    exact: bool,
    rows: &'a Rows,
    mut fill: impl FnMut(&[f32], &mut Vec<f64>) -> anyhow::Result<()> + 'a,
) -> Engine<'a> {
    let answers = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&answers);
    Engine {
        name,
        slow: false,
        exact,
        run: Box::new(move |from, to| fill(&rows.values[from * COLUMNS..to * COLUMNS], &mut answers.borrow_mut())),
        answers: Box::new(move || seen.borrow().clone()),
    }
}

fn kernel_one<'a>(name: &'static str, kernel: Kernel, rows: &'a Rows) -> Engine<'a> {
    let mut steps = vec![0; kernel.outputs()];
    engine(name, true, rows, move |row| {
        kernel.evaluate(row, &mut steps);
        Ok(f64::from(steps[0]) / f64::from(ONE))
    })
}

fn kernel_rows<'a>(name: &'static str, kernel: Kernel, rows: &'a Rows) -> Engine<'a> {
    let mut steps = Vec::new();
    at_once(name, true, rows, move |values, answers| {
        steps.resize(values.len() / COLUMNS * kernel.outputs(), 0);
        kernel.evaluate_rows(values, COLUMNS, &mut steps);
        answers.clear();
        answers.extend(steps.chunks_exact(kernel.outputs()).map(|s| f64::from(s[0]) / f64::from(ONE)));
        Ok(())
    })
}

fn session(directory: &Path, runtime: &Environment) -> anyhow::Result<Session> {
    let built = || -> ort::Result<Session> {
        Session::builder(runtime)?
            .with_optimization_level(GraphOptimizationLevel::Level3)?
            .with_intra_threads(1)?
            .commit_from_file(directory.join("one.onnx"))
    };
    built().map_err(|e| anyhow::anyhow!("{e}"))
}

fn onnx_runtime_one<'a>(directory: &Path, runtime: &Environment, rows: &'a Rows) -> anyhow::Result<Engine<'a>> {
    let mut session = session(directory, runtime)?;
    Ok(engine("ONNX Runtime (ort)", true, rows, move |row| {
        let input = TensorRef::from_array_view(([1usize, COLUMNS], row))?;
        let outputs = session.run(ort::inputs![input])?;
        Ok(f64::from(outputs[0].try_extract_tensor::<f32>()?.1[0]))
    }))
}

fn onnx_runtime_rows<'a>(directory: &Path, runtime: &Environment, rows: &'a Rows) -> anyhow::Result<Engine<'a>> {
    let mut session = session(directory, runtime)?;
    Ok(at_once("ONNX Runtime (ort)", true, rows, move |values, answers| {
        let input = TensorRef::from_array_view(([values.len() / COLUMNS, COLUMNS], values))?;
        let outputs = session.run(ort::inputs![input])?;
        answers.clear();
        answers.extend(outputs[0].try_extract_tensor::<f32>()?.1.iter().map(|v| f64::from(*v)));
        Ok(())
    }))
}

/// Stock tract has no regressor, so it runs the same trees as a classifier of two classes; column 1 is the sum.
fn tract_one<'a>(directory: &Path, rows: &'a Rows) -> anyhow::Result<Engine<'a>> {
    let plan = tract_onnx::onnx()
        .model_for_path(directory.join("classifier.onnx"))?
        .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [1, COLUMNS]))?
        .into_optimized()?
        .into_runnable()?;
    let mut engine = engine("stock tract", false, rows, move |row| {
        let input = tract_ndarray::ArrayView2::from_shape((1, COLUMNS), row)?;
        let outputs = plan.run(tvec!(input.to_owned().into_tensor().into_tvalue()))?;
        Ok(f64::from(outputs[1].try_as_plain_ram()?.as_slice::<f32>()?[1]))
    });
    engine.slow = true;
    Ok(engine)
}

/// A foreign function that stays loaded for as long as the process runs.
fn symbol<T: Copy>(library: &Path, name: &str) -> anyhow::Result<T> {
    // SAFETY: libraries that the script built or installed; their constructors are the compiler's.
    let library: &'static Library =
        Box::leak(Box::new(unsafe { Library::new(library) }.with_context(|| library.display().to_string())?));
    // SAFETY: the caller states the type that the library's header declares.
    Ok(*unsafe { library.get::<T>(name.as_bytes()) }?)
}

/// `union Entry` of the generated header.
#[derive(Clone, Copy)]
#[repr(C)]
union Entry {
    missing: c_int,
    value: f64,
}

fn tl2cgen_one<'a>(directory: &Path, rows: &'a Rows) -> anyhow::Result<Engine<'a>> {
    let predict: unsafe extern "C" fn(*mut Entry, c_int, *mut f64) = symbol(&directory.join("tl2cgen.so"), "predict")?;
    Ok(engine("tl2cgen, gcc -O2 -march=native", false, rows, move |row| {
        let mut entries = [Entry { missing: -1 }; COLUMNS];
        for (entry, value) in entries.iter_mut().zip(row) {
            entry.value = f64::from(*value);
        }
        let mut answer = 0.0;
        // SAFETY: forty entries, one target, as the header says.
        unsafe { predict(entries.as_mut_ptr(), 0, &mut answer) };
        Ok(answer)
    }))
}

/// Calls of at most `most` rows.
fn lleaves<'a>(directory: &Path, rows: &'a Rows, most: usize) -> anyhow::Result<Engine<'a>> {
    let root: unsafe extern "C" fn(*const f64, *mut f64, c_int, c_int) =
        symbol(&directory.join("lleaves.so"), "forest_root")?;
    // It reads doubles; made beforehand, as its Python wrapper would be given them.
    let wide: Vec<f64> = rows.values.iter().map(|v| f64::from(*v)).collect();
    let answers = Rc::new(RefCell::new(vec![0.0; rows.count()]));
    let seen = Rc::clone(&answers);
    Ok(Engine {
        name: "lleaves",
        slow: false,
        exact: false,
        run: Box::new(move |from, to| {
            let mut answers = answers.borrow_mut();
            let wide = wide[from * COLUMNS..to * COLUMNS].chunks(most * COLUMNS);
            for (rows, answers) in wide.zip(answers.chunks_mut(most)) {
                // SAFETY: so many rows of forty doubles and one answer each are there.
                unsafe { root(rows.as_ptr(), answers.as_mut_ptr(), 0, (rows.len() / COLUMNS) as c_int) };
            }
            Ok(())
        }),
        answers: Box::new(move || seen.borrow().clone()),
    })
}

fn lightgbm_one<'a>(directory: &Path, rows: &'a Rows) -> anyhow::Result<Engine<'a>> {
    type Load = unsafe extern "C" fn(*const c_char, *mut c_int, *mut *mut c_void) -> c_int;
    type Prepare =
        unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, c_int, i32, *const c_char, *mut *mut c_void) -> c_int;
    type Predict = unsafe extern "C" fn(*mut c_void, *const c_void, *mut i64, *mut f64) -> c_int;
    let library = std::env::var("LIGHTGBM").context("LIGHTGBM: where is lib_lightgbm.so?")?;
    let load: Load = symbol(library.as_ref(), "LGBM_BoosterCreateFromModelfile")?;
    let prepare: Prepare = symbol(library.as_ref(), "LGBM_BoosterPredictForMatSingleRowFastInit")?;
    let predict: Predict = symbol(library.as_ref(), "LGBM_BoosterPredictForMatSingleRowFast")?;
    let path = CString::new(directory.join("one.txt").to_str().context("a plain path")?)?;
    let (mut trees, mut booster, mut fast) = (0, std::ptr::null_mut(), std::ptr::null_mut());
    // C_API_DTYPE_FLOAT32 and C_API_PREDICT_NORMAL are 0.
    // SAFETY: pointers to locals that outlive the calls; the texts end in zero.
    unsafe {
        ensure!(load(path.as_ptr(), &mut trees, &mut booster) == 0, "LightGBM does not load its model");
        let threads = c"num_threads=1".as_ptr();
        ensure!(prepare(booster, 0, 0, -1, 0, COLUMNS as i32, threads, &mut fast) == 0, "LightGBM is not ready");
    }
    Ok(engine("LightGBM C API, SingleRowFast", false, rows, move |row| {
        let (mut length, mut answer) = (0, 0.0);
        // SAFETY: `fast` was made for rows of forty floats and one answer.
        ensure!(unsafe { predict(fast, row.as_ptr().cast(), &mut length, &mut answer) } == 0, "LightGBM fails");
        Ok(answer)
    }))
}
