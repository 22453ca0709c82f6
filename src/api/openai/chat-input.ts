import type { ChatMessage, Json, PromptInput } from '../../engine/protocol.ts';
import { FieldError } from '../http-error.ts';
import type { ChatRequest, OpenAiContent, OpenAiMessage } from './schemas.ts';

/** The prompt of a chat request, in the words that chat templates use. */
export function chatInput(body: ChatRequest): PromptInput {
  const format = body.response_format?.type ?? 'text';
  if (format !== 'text') {
    throw new FieldError(
      'unsupported_value',
      `'response_format' of type '${format}' is not supported by this version; only 'text' is.`,
      'response_format',
    );
  }
  const choice = body.tool_choice ?? 'auto';
  if (choice !== 'auto' && choice !== 'none') {
    throw new FieldError(
      'unsupported_value',
      "this version cannot force a call: 'tool_choice' is 'auto' or 'none'.",
      'tool_choice',
    );
  }
  return {
    kind: 'chat',
    messages: body.messages.map(templateMessage),
    tools: choice === 'none' ? null : (body.tools ?? null),
    variables: body.chat_template_kwargs ?? {},
  };
}

function templateMessage(message: OpenAiMessage): ChatMessage {
  if (message.role === 'assistant') {
    const { content, tool_calls: calls } = message;
    return {
      role: 'assistant',
      content: content === null || content === undefined ? '' : contentText(content),
      ...(calls ? { tool_calls: calls.map(templateToolCall) } : {}),
    };
  }
  const content = contentText(message.content);
  if (message.role === 'tool') {
    return { role: 'tool', content, tool_call_id: message.tool_call_id };
  }
  // Templates of open models know no developer.
  return { role: message.role === 'developer' ? 'system' : message.role, content };
}

function contentText(content: OpenAiContent): string {
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'text' ? part.text : part.refusal)).join('');
}

type ToolCall = NonNullable<Extract<OpenAiMessage, { role: 'assistant' }>['tool_calls']>[number];

/** Templates want the arguments as an object; what is no JSON stays the text it is. */
function templateToolCall(call: ToolCall): Json {
  return {
    id: call.id,
    type: 'function',
    function: { name: call.function.name, arguments: parsedOr(call.function.arguments) },
  };
}

function parsedOr(text: string): Json {
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch {
    return text;
  }
}
