// exp, tanh and erf of 16 floats, within 2 ulp, and what is made of them. No estimates and no
// library: each step is a primitive, so every set gives the same bits. The polynomials are minimax
// fits made for this file (Remez, 40 digits), so that their own error is below 6e-9.

/// The polynomial with the given coefficients, constant first, by Horner's rule.
template <int Count>
ALWAYS_INLINE F polynomial(F x, const float (&coefficients)[Count]) {
  F sum = set(coefficients[Count - 1]);
  for (int i = Count - 2; i >= 0; --i) sum = fma(sum, x, set(coefficients[i]));
  return sum;
}

/// exp(x) = fraction * 2^whole, for x that is no larger than what a float's exponent can say.
struct Exponential {
  F fraction;
  I whole;

  explicit ALWAYS_INLINE Exponential(F x) {
    static constexpr float tail[] = {0.5f, 0.166665182f, 0.041666206f, 0.00836890284f,
                                     0.00139504985f};
    whole = to_i32(mul(x, set(1.44269504f)));
    const F n = to_f32(whole);
    // ln 2 in two parts.
    const F rest = fma(n, set(0x1.7f7d1cp-20f * -1.0f), fma(n, set(-0x1.62e4p-1f), x));
    const F square = mul(rest, rest);
    fraction = add(fma(square, polynomial(rest, tail), rest), set(1.0f));
  }
};

/// 0 below -104, infinity above 88.73; subnormal results are rounded twice.
ALWAYS_INLINE F exp(F x) {
  // The bound comes first: a NaN is passed on as the second operand.
  const Exponential parts(max(set(-104.0f), min(set(89.0f), x)));
  // Two factors: 2^n alone leaves the range of normal floats at both ends.
  const I half = sub_i(shift<1>(add_i(parts.whole, set_i(512))), set_i(256));
  const F value = mul(mul(parts.fraction, pow2(half)), pow2(sub_i(parts.whole, half)));
  return select_less(x, set(-104.0f), set(0.0f), value);
}

/// exp of what is at most 0; 0 below -87, where a result would not be a normal float.
ALWAYS_INLINE F exp_of_negative(F x) {
  const Exponential parts(max(set(-87.0f), x));
  return select_less(x, set(-87.0f), set(0.0f), mul(parts.fraction, pow2(parts.whole)));
}

ALWAYS_INLINE F tanh(F x) {
  static constexpr float near_zero[] = {-0.333332837f, 0.133314744f, -0.053741999f,
                                        0.0206454284f, -0.0057110074f};
  const F size = abs(x), square = mul(x, x);
  const F small = fma(mul(x, square), polynomial(square, near_zero), x);
  const F e = exp(add(size, size));
  const F large = sub(set(1.0f), div(set(2.0f), add(e, set(1.0f))));
  return select_less(size, set(0.625f), small, copy_sign(large, x));
}

ALWAYS_INLINE F erf(F x) {
  static constexpr float near_zero[] = {0.128379166f,  -0.376126349f,   0.112837195f,
                                        -0.0268607531f, 0.0052044359f, -0.000818192493f,
                                        8.53883103e-05f};
  // -log(1 - erf(x)) for x from 0.89 to 4.
  static constexpr float tail[] = {-0.000166378202f, 1.12947464f,     0.63342917f,
                                   0.108188793f,     -0.0250599328f,  0.00414831191f,
                                   -0.00042973776f,  2.06841323e-05f};
  const F size = abs(x);
  const F small = fma(x, polynomial(mul(x, x), near_zero), x);
  const F bounded = min(set(4.0f), size);
  const F large = sub(set(1.0f), exp(sub(set(0.0f), polynomial(bounded, tail))));
  return select_less(size, set(0.9f), small, copy_sign(large, x));
}

/// x / (1 + exp(-x)).
ALWAYS_INLINE F silu(F x) {
  return div(x, add(set(1.0f), exp(sub(set(0.0f), x))));
}
/// x * (1 + erf(x / sqrt 2)) / 2.
ALWAYS_INLINE F gelu(F x) {
  const F half = mul(x, set(0.5f));
  return fma(half, erf(mul(x, set(0.707106781f))), half);
}
/// x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2.
ALWAYS_INLINE F gelu_tanh(F x) {
  const F half = mul(x, set(0.5f));
  const F inner = fma(mul(mul(x, x), x), set(0.044715f), x);
  return fma(half, tanh(mul(inner, set(0.797884561f))), half);
}
