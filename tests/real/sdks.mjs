// The vendors' own JavaScript SDKs, each with one conversation: a question, calls, their results, a text.
// node sdks.mjs CLIENT BASE MODEL STREAMED, beside node_modules; prints what came of it as JSON.
const [client, base, model, streamed] = process.argv.slice(2);
const stream = streamed === "true";
const question = "The weather in Paris and in Rome?";
const name = "get_weather", description = "The weather of a city";
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const results = ["rain", "sun"];

async function chat() {
  const { default: OpenAI } = await import("openai");
  const api = new OpenAI({ baseURL: `${base}/v1`, apiKey: "key-of-the-client", maxRetries: 0 });
  const messages = [{ role: "user", content: question }];
  const tools = [{ type: "function", function: { name, description, parameters: schema } }];
  const ask = async () => {
    const asked = { model, messages, tools };
    const done = stream
      ? await api.chat.completions.stream(asked).finalChatCompletion()
      : await api.chat.completions.create(asked);
    messages.push(done.choices[0].message);
    return done.choices[0].message;
  };
  const calls = (await ask()).tool_calls;
  calls.forEach((call, i) => messages.push({ role: "tool", tool_call_id: call.id, content: results[i] }));
  return [calls.map((call) => JSON.parse(call.function.arguments)), (await ask()).content];
}

async function responses() {
  const { default: OpenAI } = await import("openai");
  const api = new OpenAI({ baseURL: `${base}/v1`, apiKey: "key-of-the-client", maxRetries: 0 });
  const input = [{ role: "user", content: question }];
  const tools = [{ type: "function", name, description, parameters: schema, strict: false }];
  const ask = async () => {
    const asked = { model, input, tools, store: false, include: ["reasoning.encrypted_content"] };
    const done = stream ? await api.responses.stream(asked).finalResponse() : await api.responses.create(asked);
    input.push(...done.output);
    return done;
  };
  const calls = (await ask()).output.filter((item) => item.type === "function_call");
  calls.forEach((call, i) => input.push({ type: "function_call_output", call_id: call.call_id, output: results[i] }));
  return [calls.map((call) => JSON.parse(call.arguments)), (await ask()).output_text];
}

async function messages() {
  const { default: Anthropic } = await import("@anthropic-ai/sdk");
  const api = new Anthropic({ baseURL: base, apiKey: "key-of-the-client", maxRetries: 0 });
  const turns = [{ role: "user", content: question }];
  const ask = async () => {
    const asked = { model, max_tokens: 99, messages: turns, tools: [{ name, description, input_schema: schema }] };
    const done = stream ? await api.messages.stream(asked).finalMessage() : await api.messages.create(asked);
    turns.push({ role: "assistant", content: done.content });
    return done;
  };
  const calls = (await ask()).content.filter((block) => block.type === "tool_use");
  const content = calls.map((call, i) => ({ type: "tool_result", tool_use_id: call.id, content: results[i] }));
  turns.push({ role: "user", content });
  return [calls.map((call) => call.input), (await ask()).content.map((block) => block.text ?? "").join("")];
}

async function gemini() {
  const { GoogleGenAI } = await import("@google/genai");
  const api = new GoogleGenAI({ apiKey: "key-of-the-client", httpOptions: { baseUrl: base } });
  const contents = [{ role: "user", parts: [{ text: question }] }];
  const config = { tools: [{ functionDeclarations: [{ name, description, parametersJsonSchema: schema }] }] };
  const ask = async () => {
    const parts = [];
    const take = (chunk) => parts.push(...(chunk.candidates[0].content?.parts ?? []));
    if (stream) for await (const chunk of await api.models.generateContentStream({ model, contents, config })) take(chunk);
    else take(await api.models.generateContent({ model, contents, config }));
    const said = parts.filter((part) => part.text !== "" || part.thoughtSignature);
    contents.push({ role: "model", parts: said });
    return said;
  };
  const calls = (await ask()).filter((part) => part.functionCall).map((part) => part.functionCall);
  const parts = calls.map((call, i) => ({
    functionResponse: { id: call.id, name: call.name, response: { output: results[i] } },
  }));
  contents.push({ role: "user", parts });
  return [calls.map((call) => call.args), (await ask()).map((part) => part.text ?? "").join("")];
}

const [calls, text] = await { chat, responses, messages, gemini }[client]();
console.log(JSON.stringify({ calls, text }));
