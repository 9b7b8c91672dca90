//! Products of matrices in the arithmetic of [`Compute`].
//!
//! burn's product of f32 matrices takes tensor cores where they are faster, and those round its factors to TF32. For
//! [`Compute::F32`] the kernels without tensor cores are tuned among themselves instead.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeTuneId;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, init_matmul_output, matmul};
use burn_cubecl::tensor::CubeTensor;
use cubecl::features::Plane;
use cubecl::prelude::*;
use cubecl::tf32;
use cubecl::tune::{LocalTuner, Tunable, TunableSet, local_tuner};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::routines::TileSizeSelection;
use cubek::matmul::multi_level::routines::batch::{
    double_unit::DoubleUnitSelectionArgs, simple_unit::SimpleUnitSelectionArgs,
};
use cubek::matmul::routine::BlueprintStrategy;
use cubek::matmul::tune_key::MatmulAutotuneKey;
use cubek::std::InputBinding;

use super::loops;
use super::tensors::{UNITS, cube_dim, empty};
use crate::Compute;

/// `a b`, batched, in f32.
pub(super) fn product(a: CubeTensor, b: CubeTensor, compute: Compute) -> CubeTensor {
    let in_dtype =
        |x: CubeTensor, dtype| if x.dtype == dtype { x } else { burn_cubecl::kernel::cast(x, dtype) };
    let plain = |a, b| match matmul(a, b, None, MatmulStrategy::default(), DType::F32) {
        Ok(out) => out,
        Err(e) => panic!("a product of matrices: {e:?}"),
    };
    let dtype = if compute == Compute::Bf16 { DType::BF16 } else { DType::F32 };
    let (a, b) = (in_dtype(a, dtype), in_dtype(b, dtype));
    let has_tf32 = a.client.properties().supports_type(tf32::elem_type_native());
    if compute == Compute::F32 && has_tf32 { exact(a, b) } else { plain(a, b) }
}

type Inputs = (CubeTensor, CubeTensor, CubeTensor);

fn launch(strategy: &Strategy, (a, b, out): Inputs) -> Result<(), String> {
    let f32_type = f32::elem_type_native();
    let mut types =
        MatmulElems::from_globals(&MatmulGlobalElems { lhs: f32_type, rhs: f32_type, out: f32_type });
    let [a, b] = [a, b].map(|x| InputBinding::new(x.binding(), f32_type));
    let client = out.client.clone();
    launch_ref(&strategy.clone().into(), &client, a, b, out.binding(), &mut types)
        .map_err(|e| format!("{e:?}"))
}

/// The product by the fastest kernel that multiplies f32 as f32.
fn exact(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    let out = init_matmul_output(&a, &b, DType::F32);
    if [&a, &b].iter().any(|x| x.meta.shape().contains(&0)) {
        return out;
    }
    static TUNER: LocalTuner<MatmulAutotuneKey, CubeTuneId> = local_tuner!();
    let id = CubeTuneId::new(&a.client, &a.device);
    let set = TUNER.init(&id, || {
        let inputs = |_: &MatmulAutotuneKey, (a, b, out): &Inputs| (a.clone(), b.clone(), out.copy());
        let mut set = TunableSet::new(key, inputs);
        let unit = [TileSizeSelection::MaxTileSize, TileSizeSelection::MinTileSize];
        let strategies = [
            // The first serves every shape.
            Strategy::Naive,
            Strategy::SimpleVecMat(BlueprintStrategy::Inferred(().into())),
            Strategy::DoubleVecMat(BlueprintStrategy::Inferred(().into())),
            Strategy::GemvUnitPerpendicular(BlueprintStrategy::Inferred(Default::default())),
            Strategy::Gemm(BlueprintStrategy::Inferred(Default::default())),
        ]
        .into_iter()
        .chain(unit.map(|tile_size| {
            Strategy::SimpleUnit(BlueprintStrategy::Inferred(SimpleUnitSelectionArgs { tile_size }))
        }))
        .chain(unit.map(|tile_size| {
            Strategy::DoubleUnit(BlueprintStrategy::Inferred(DoubleUnitSelectionArgs { tile_size }))
        }));
        for strategy in strategies {
            let name = strategy.to_string();
            set = set.with(Tunable::new(&name, move |inputs: Inputs| launch(&strategy, inputs)));
        }
        set
    });
    TUNER.execute(&id, &a.client.clone(), set, (a, b, out.clone()));
    out
}

fn key((a, b, out): &Inputs) -> MatmulAutotuneKey {
    let f32_type = f32::elem_type_native();
    MatmulAutotuneKey::generate(
        &out.client,
        a.meta.shape(),
        b.meta.shape(),
        a.meta.strides(),
        b.meta.strides(),
        a.meta.tiling,
        b.meta.tiling,
        f32_type,
        f32_type,
        f32_type,
        None,
        None,
    )
}

/// Rows up to which a projection is bound by reading its weights.
const FEW: usize = 8;

/// Whether [`few`] serves this projection.
pub(super) fn serves_few(x: &CubeTensor, weight: &CubeTensor) -> bool {
    x.meta.shape()[0] <= FEW
        && weight.is_contiguous()
        && x.client.properties().features.plane.contains(Plane::Ops)
}

/// A projection of few rows in f32, whatever [`Compute`] says: it takes no longer.
pub(super) fn few(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    let ([rows, width], outputs) = ([x.meta.shape()[0], x.meta.shape()[1]], weight.meta.shape()[0]);
    let out = empty(&x, Shape::new([rows, outputs]));
    // 16 bytes of weights a load, where rows divide into such pieces.
    let most = 16 / weight.dtype.size();
    let vector = (0..4).map(|i| 8 >> i).find(|&n| n <= most && width % n == 0).unwrap_or(1);
    let planes = UNITS / x.client.properties().hardware.plane_size_max as usize;
    let dtype = dtype_to_storage_type(weight.dtype);
    // SAFETY: planes beyond the last output return at once; both factors are contiguous.
    unsafe {
        loops::project_few::launch_unchecked(
            &out.client,
            CubeCount::Static(outputs.div_ceil(planes) as u32, 1, 1),
            cube_dim(),
            vector,
            x.into_tensor_arg(),
            weight.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            outputs as u32,
            (width / vector) as u32,
            rows,
            dtype,
        );
    }
    out
}
