//! The generator's random numbers: written out here so that a seed means the same history for ever.
//!
//! Only additions, multiplications, `libm` and integers: the same bits on every platform.

/// xoshiro256++ 1.0, seeded by splitmix64.
///
/// Source: Blackman and Vigna (2019), <https://prng.di.unimi.it/xoshiro256plusplus.c> and `splitmix64.c`, public domain.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// A stream of its own for every pair of seed and index.
    pub fn new(seed: u64, index: u64) -> Self {
        let mut x = seed ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut next = || {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(x)
        };
        Self { state: [next(), next(), next(), next()] }
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `0..n`; the bias of at most n/2³² is of no matter here.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(n)) >> 32) as u32
    }

    /// Uniform in `low..=high`.
    #[inline]
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// Uniform in `[0, 1)`.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `[low, high)`.
    #[inline]
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    #[inline]
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Nearly standard normal: the sum of four uniforms, so never beyond ±3.47. The heavy tails of
    /// spending are events of their own.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        let bits = self.bits();
        let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
        // Mean 2 · 65,535, variance 4 · 65,536²/12.
        (sum as f64 - 131_070.0) * (1.732_050_807_568_877_2 / 65_536.0)
    }

    /// A factor of median 1 whose logarithm has standard deviation `sigma`.
    #[inline]
    pub fn factor(&mut self, sigma: f64) -> f64 {
        libm::exp(sigma * self.normal())
    }

    /// A waiting time of the given mean.
    #[inline]
    pub fn waiting(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    /// How many events of a rate `lambda` happen; `lambda` up to about 20.
    #[inline]
    pub fn poisson(&mut self, lambda: f64) -> u32 {
        let floor = libm::exp(-lambda);
        let (mut count, mut product) = (0, self.unit());
        while product > floor && count < 64 {
            count += 1;
            product *= self.unit();
        }
        count
    }

    /// An index drawn with the given weights.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut ticket = self.below(weights.iter().sum());
        for (i, &weight) in weights.iter().enumerate() {
            if ticket < weight {
                return i;
            }
            ticket -= weight;
        }
        weights.len() - 1
    }
}

const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // First outputs of xoshiro256++ from the state {1, 2, 3, 4}, as in the authors' C code.
        let mut random = Random { state: [1, 2, 3, 4] };
        let got: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(got, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn draws_have_the_moments_they_claim() {
        let mut random = Random::new(1, 2);
        let n = 200_000;
        let normals: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = normals.iter().sum::<f64>() / f64::from(n);
        let variance = normals.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
        let poisson = (0..n).map(|_| f64::from(random.poisson(2.5))).sum::<f64>() / f64::from(n);
        assert!((poisson - 2.5).abs() < 0.02, "{poisson}");
        let waiting = (0..n).map(|_| random.waiting(3.0)).sum::<f64>() / f64::from(n);
        assert!((waiting - 3.0).abs() < 0.04, "{waiting}");
    }

    #[test]
    fn streams_of_neighbouring_indices_differ() {
        let mut firsts: Vec<u64> = (0..1_000).map(|i| Random::new(7, i).bits()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 1_000);
    }
}
