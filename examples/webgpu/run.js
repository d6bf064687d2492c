"use strict";
// Runs the launches that the page holds, and draws the result. No library is needed.

const say = (text) => {
  document.getElementById("status").textContent = text;
  document.body.dataset.done = text;
};

const TYPES = { float32: Float32Array, int32: Int32Array };

const unpacked = ({ type, data }) =>
  new TYPES[type](Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);

// The numbers of a launch in one buffer, behind them the last program there is.
const packed = (launch) => {
  const numbers = launch.arguments.filter(([, kind]) => kind !== "tensor");
  const view = new DataView(new ArrayBuffer(16 * Math.ceil((numbers.length + 1) / 4)));
  numbers.forEach(([, kind, value], i) => {
    const number = value === "-inf" ? -Infinity : value === "nan" ? NaN : value;
    if (kind === "float32") view.setFloat32(4 * i, number, true);
    else view.setInt32(4 * i, number, true);
  });
  view.setUint32(4 * numbers.length, launch.programs - 1, true);
  return view.buffer;
};

async function main() {
  const { launches, tensors, result, expected } = JSON.parse(
    document.getElementById("launches").textContent);
  document.getElementById("kernel").textContent = launches.map((l) => l.text).join("\n");
  if (!navigator.gpu) return say("WebGPU is not available: this browser has none.");
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) return say("WebGPU is not available: no adapter.");
  const device = await adapter.requestDevice();
  const errors = [];
  device.addEventListener("uncapturederror", (e) => errors.push(e.error.message));
  const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const made = (array, usage) => {
    const buffer = device.createBuffer({ size: array.byteLength, usage });
    device.queue.writeBuffer(buffer, 0, array);
    return buffer;
  };
  const buffers = tensors.map((t) => made(unpacked(t), STORAGE | COPY_SRC | COPY_DST));
  const encoder = device.createCommandEncoder();
  for (const launch of launches) {
    const module = device.createShaderModule({ code: launch.text });
    for (const m of (await module.getCompilationInfo()).messages)
      errors.push(`${m.type} in line ${m.lineNum}: ${m.message}`);
    const pipeline = device.createComputePipeline({
      layout: "auto", compute: { module, entryPoint: launch.name } });
    const bound = launch.arguments.filter(([, kind]) => kind === "tensor");
    const used = bound.map(([, , value]) => buffers[value]);
    used.push(made(packed(launch), UNIFORM | COPY_DST));
    const entries = used.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const layout = pipeline.getBindGroupLayout(0);
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(launch.programs);
    pass.end();
  }
  const want = unpacked(expected), size = want.byteLength;
  const read = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
  encoder.copyBufferToBuffer(buffers[result], 0, read, 0, size);
  device.queue.submit([encoder.finish()]);
  await read.mapAsync(GPUMapMode.READ);
  const found = new Float32Array(read.getMappedRange().slice(0));
  if (errors.length) return say(`Failed: ${errors.join(" | ")}`);

  const [rows, columns] = expected.shape.slice(-2);
  const canvas = Object.assign(document.getElementById("picture"), { width: columns, height: rows });
  const image = new ImageData(columns, rows);
  let worst = 0;
  for (let m = 0; m < rows; m++) {
    const row = found.subarray(m * columns, (m + 1) * columns), top = Math.max(...row);
    row.forEach((x, n) => {
      worst = Math.max(worst, Math.abs(x - want[m * columns + n]));
      const g = 255 * Math.sqrt(x / top);
      image.data.set([g, 40 + 0.8 * g, 90 + 0.4 * g, 255], 4 * (m * columns + n));
    });
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  const { vendor, architecture } = adapter.info ?? {};
  say(`Ran on WebGPU (${vendor} ${architecture}); greatest difference from NumPy: ${worst.toExponential(1)}`);
}

main().catch((error) => say(`Failed: ${error}`));
